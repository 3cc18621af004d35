package main

import (
	"fmt"
	"time"
)

// link is the network between the two ends.
type link struct {
	name   string
	shape  *shape // nil: loopback as it is
	fault  string // of the sandbox; a delay by it costs no processor time, unlike the shaper
	images []string
	size   int64 // of the images, bytes; 0: the size of the options
	kinds  []string
}

// shape has the limits of a link, for each direction.
type shape struct {
	rate  float64 // bytes a second
	delay time.Duration
}

// rtt20 is a link of a rate in Mbit/s and a round-trip time of 20 ms.
func rtt20(mbit float64) *shape { return &shape{mbit * 1e6 / 8, 10 * time.Millisecond} }

var both = []string{"upload", "download"}

var defaultLinks = []link{
	{name: "loopback", images: []string{"dense", "random", "sparse"}, kinds: both},
	{name: "1 TiB, loopback", images: []string{"dense"}, kinds: []string{"tebibyte"}},
	{name: "1Gbit, 20 ms", shape: rtt20(1000), images: []string{"dense"}, size: 256 << 20, kinds: both},
	{name: "200Mbit, 20 ms", shape: rtt20(200), images: []string{"dense"}, size: 256 << 20, kinds: both},
}

var (
	all    = []string{"dense", "random", "sparse"}
	chosen = []string{"encoding", "in flight"}
)

// choiceLinks are the links over which transferd's choices are compared with fixed settings. The
// images for slow links are as small as possible; of even fewer chunks most would be the first
// ones.
var choiceLinks = []link{
	{name: "10Mbit, 20 ms", shape: rtt20(10), images: all, size: 64 << 20, kinds: chosen},
	{name: "100Mbit, 20 ms", shape: rtt20(100), images: all, size: 256 << 20, kinds: chosen},
	{name: "1Gbit, 20 ms", shape: rtt20(1000), images: all, kinds: chosen},
	{name: "loopback", images: all, kinds: chosen},
	{name: "latency 5 ms", fault: "latency=5ms", images: []string{"random"}, kinds: []string{"in flight"}},
	{name: "latency 20 ms", fault: "latency=20ms", images: []string{"random"}, kinds: []string{"in flight"}},
	{name: "latency 100 ms", fault: "latency=100ms", images: []string{"random"}, kinds: []string{"in flight"}},
}

// limitLinks are links over which transferd should take no longer than the link or the processors
// need.
func limitLinks() (list []link) {
	for _, rate := range []float64{50, 200, 1000} {
		for _, size := range []int64{256, 1024} {
			list = append(list, link{
				name: fmt.Sprintf("%.0fMbit, 20 ms, %d MiB", rate, size), shape: rtt20(rate),
				images: []string{"dense", "random"}, size: size << 20, kinds: both,
			})
		}
	}
	return list
}
