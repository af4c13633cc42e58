// SPDX-License-Identifier: Apache-2.0

package main

import "slices"

// Summary is what some measurements of one thing come to.
type Summary struct {
	Median float64 `json:"median"`
	Lower  float64 `json:"lowerQuartile"`
	Upper  float64 `json:"upperQuartile"`
	Count  int     `json:"count"`
}

func summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Summary{quantile(sorted, 0.5), quantile(sorted, 0.25), quantile(sorted, 0.75), len(sorted)}
}

// quantile interpolates between neighbours.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 == len(sorted) {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// noise is half the range in which the middle half of the measurements lies, as a
// part of the median.
func (s Summary) noise() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.Upper - s.Lower) / 2 / s.Median
}
