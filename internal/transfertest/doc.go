// Package transfertest is the conformance suite for transfer.Source and transfer.Sink. The tests of
// an implementation, a fake too, call Source or Sink with a function that opens it. They test the
// rest, such as bad input, themselves. The package also has helpers that the tests of several
// packages need.
package transfertest
