// SPDX-License-Identifier: Apache-2.0

// Package growth tests that what a call computes grows with the number of
// containers as it should: no faster than linear.
package growth

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The sizes that are compared. Their ratio is a power of two, so that whatever
// doubles when it is full has grown alike.
const (
	small = 250
	times = 16
	large = times * small
)

// memorySlack and timeSlack are how much more than linear is let pass. What is
// quadratic takes 256 times as much, which is 16 times more than linear. A slice
// that is appended to doubles while it is small, and later grows by a quarter, so
// that the large one is copied two and a half times as often. Time is also that of
// the race detector and of caches that the large one does not fit into.
const (
	memorySlack = 2.5
	timeSlack   = 6
)

// Linear fails the test where 16 times as much to do costs far more than 16 times
// the memory, in bytes or in allocations, or the time. For each size, prepare
// returns what does the work, which may be done several times. The test must not
// be parallel.
func Linear(t *testing.T, prepare func(n int) (work func())) {
	t.Helper()
	few, many := prepare(small), prepare(large)
	bytes, count := allocated(few)
	manyBytes, manyCount := allocated(many)
	if limit := uint64(memorySlack * times * float64(bytes)); manyBytes > limit {
		t.Errorf("%d bytes for %d, and %d for %d: more than %d", bytes, small, manyBytes, large, limit)
	}
	if limit := uint64(memorySlack * times * float64(count)); manyCount > limit {
		t.Errorf("%d allocations for %d, and %d for %d: more than %d", count, small, manyCount, large, limit)
	}
	if a, b := fastest(t, few, many); b > timeSlack*times*a {
		t.Errorf("%s for %d, and %s for %d: more than %d times as long", a, small, b, large, timeSlack*times)
	}
}

// LinearCount is Linear for work that returns how much it computed, which must not
// be nothing.
func LinearCount(t *testing.T, prepare func(n int) (work func() int)) {
	t.Helper()
	Linear(t, func(n int) func() {
		work := prepare(n)
		return func() {
			if work() == 0 {
				t.Fatal("nothing was computed")
			}
		}
	})
}

// allocated returns what work allocates: the least of some tries, as the runtime
// itself allocates at times.
func allocated(work func()) (bytes, count uint64) {
	work() // what is made once
	for n := range 2 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		work()
		runtime.ReadMemStats(&after)
		b, c := after.TotalAlloc-before.TotalAlloc, after.Mallocs-before.Mallocs
		if n == 0 || b < bytes {
			bytes = b
		}
		if n == 0 || c < count {
			count = c
		}
	}
	// Work that allocates nothing may do so at any size; a little is nobody's fault.
	const trifle = 64
	return bytes + trifle*trifle, count + trifle
}

// fastest returns the shortest times of some tries. It tries on as long as they
// look bad, a few seconds at most.
func fastest(t *testing.T, few, many func()) (a, b time.Duration) {
	t.Helper()
	const patience = 5 * time.Second
	begin := time.Now()
	for n := 0; n < 3 || b > timeSlack*times*a && time.Since(begin) < patience; n++ {
		a, b = shorter(t, a, few), shorter(t, b, many)
	}
	return a, b
}

func shorter(t *testing.T, least time.Duration, work func()) time.Duration {
	t.Helper()
	begin := processorTime(t)
	work()
	if took := processorTime(t) - begin; least == 0 || took < least {
		return took
	}
	return least
}

// processorTime returns how long this process has run. On a busy machine that is
// much shorter than the time of day says, and the more so the longer it works.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
