// Package batch turns a plan file into the items of a batch.
//
// A plan is YAML, or CSV with a header row of the same words. Each line names a source, targets and
// options. Planning has four steps:
//
//  1. ReadPlan parses the file into lines (plan.go, planyaml.go, plancsv.go, options.go).
//  2. Expand resolves patterns, tags and names, so that each item has one source, one target and
//     the spec of a job (expand.go). Its kind, source, target and name identify an item.
//  3. Check looks at each source and target, and decides what is to be done (check.go, decide.go):
//     nothing if the last job of the item has succeeded and its target still holds the image. What
//     it finds wrong is a finding, with cause and remedy. A plan with an error starts nothing.
//  4. The result has the entries that a queue enqueues, or that --local runs one after the other.
//
// The package makes no calls of its own: a Planner has interfaces for endpoints, for the files of
// the hosts that serve a queue, and for earlier jobs.
package batch
