// Package transfertest holds every transfer.Source and transfer.Sink to its contract. An implementation's tests call
// Source or Sink with a function that opens it; everything else, such as what it does with bad input, it tests itself.
package transfertest
