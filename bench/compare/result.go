package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"
)

func printTable(l link, image, kind string, names []string, results map[string][]result) {
	fmt.Printf("\n%s, %s, %s\n", l.name, image, kind)
	fmt.Printf("  %-46s %8s %15s %6s %8s %9s %9s %9s\n", "",
		"seconds", "spread", "ratio", "cpu s", "peak MiB", "wire MiB", "of limit")
	seconds := func(r result) float64 { return r.took.Seconds() }
	ours := median(results[names[0]], seconds)
	for _, name := range names {
		all := results[name]
		low, high := seconds(all[0]), seconds(all[0])
		for _, r := range all {
			low, high = min(low, seconds(r)), max(high, seconds(r))
		}
		fmt.Printf("  %-46s %8.2f %7.2f–%7.2f %6.2f %8.2f %9.0f %9.0f %8.0f%%\n", name,
			median(all, seconds), low, high, median(all, seconds)/ours,
			median(all, func(r result) float64 { return r.cpu.Seconds() }),
			median(all, func(r result) float64 { return float64(r.peak) / (1 << 20) }),
			median(all, func(r result) float64 { return float64(r.wire()) / (1 << 20) }),
			100*median(all, func(r result) float64 { return r.ofLimit(l) }))
	}
}

func median(list []result, of func(result) float64) float64 {
	values := make([]float64, len(list))
	for i, r := range list {
		values[i] = of(r)
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// result has the measurements of one run.
type result struct {
	took time.Duration
	cpu  time.Duration // processor time of both ends
	peak int64         // resident memory of the client's largest process, bytes
	out  int64         // bytes that crossed the link, from the client
	in   int64         // and to it
}

func (r result) wire() int64 { return r.out + r.in }

// ofLimit is the share of the limit that the run reached: 1 is the time that the direction of the
// link with more bytes, or all processors, need at least.
func (r result) ofLimit(l link) float64 {
	limit := r.cpu.Seconds() / float64(runtime.NumCPU())
	if l.shape != nil {
		limit = max(limit, float64(max(r.out, r.in))/l.shape.rate)
	}
	return limit / r.took.Seconds()
}
