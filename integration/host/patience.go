// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"sync"
	"time"
)

// Patience is how long a probe usually waits for an answer, which takes well under a
// millisecond here if there is one. It is a number of naps, and a second where the
// machine has nothing else to do. Where it is busy, packets, servers and naps all
// wait for a processor: a nap then takes longer, and so does the patience.
const Patience = 100 * nap

// nap is how long the process sleeps at a time.
const nap = 10 * time.Millisecond

// napper counts naps for all that wait.
type napper struct {
	mu      sync.Mutex
	waiting map[chan struct{}]int // naps that are left of each
}

var naps = napper{waiting: map[chan struct{}]int{}}

// until returns what is closed after the naps of a duration.
func (n *napper) until(patience time.Duration) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	over := make(chan struct{})
	n.waiting[over] = int(patience / nap)
	if len(n.waiting) == 1 {
		go n.run()
	}
	return over
}

// run naps as long as anybody waits.
func (n *napper) run() {
	for left := 1; left > 0; {
		time.Sleep(nap)
		left = n.count()
	}
}

func (n *napper) count() (left int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for over := range n.waiting {
		if n.waiting[over]--; n.waiting[over] <= 0 {
			close(over)
			delete(n.waiting, over)
		}
	}
	return len(n.waiting)
}

// patient is a context whose deadline is a number of naps.
type patient struct {
	context.Context
	over <-chan struct{}
}

func withPatience(patience time.Duration) context.Context {
	return patient{context.Background(), naps.until(patience)}
}

func (p patient) Done() <-chan struct{} { return p.over }

func (p patient) Err() error {
	select {
	case <-p.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}
