// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// curve is the medians of one plugin over the number of containers.
type curve struct {
	name   string
	color  color.Color
	dashes []vg.Length
	points plotter.XYs
}

// colors of the backends. Upstream's lines are dashed.
var colors = map[string]color.Color{
	"iptables-nft":    color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff},
	"iptables-legacy": color.RGBA{R: 0xff, G: 0x7f, B: 0x0e, A: 0xff},
	"nftables":        color.RGBA{R: 0x2c, G: 0xa0, B: 0x2c, A: 0xff},
	"firewalld":       color.RGBA{R: 0xd6, G: 0x27, B: 0x28, A: 0xff},
}

// curves returns those of one verb, of calls that were alone. nftables is compared
// with upstream's plugin on iptables-nft, which has a curve of its own.
func (r Report) curves(verb string, setting Setting) []curve {
	byName := map[string]*curve{}
	add := func(name string, c CallRow, dashed bool, y float64) {
		k := byName[name]
		if k == nil {
			k = &curve{name: name, color: colors[c.Backend]}
			if dashed {
				k.dashes = []vg.Length{vg.Points(4), vg.Points(3)}
			}
			byName[name] = k
		}
		k.points = append(k.points, plotter.XY{X: float64(c.Containers), Y: y})
	}
	for _, c := range r.Calls {
		if c.Verb != verb || c.AtOnce != 1 || c.Setting != setting {
			continue
		}
		add(c.Backend, c, false, c.Ours.Wall.Median)
		if c.Backend != "nftables" {
			add("upstream, "+c.Backend, c, true, c.Upstream.Wall.Median)
		}
	}
	var all []curve
	for _, k := range byName {
		all = append(all, *k)
	}
	slices.SortFunc(all, func(a, b curve) int { return cmp.Compare(a.name, b.name) })
	return all
}

// draw writes a plot of time against the number of containers, a panel for each
// verb.
func (r Report) draw(path string) error {
	setting := r.Calls[len(r.Calls)-1].Setting
	var panels []*plot.Plot
	lowest, highest := 0.0, 0.0
	for _, verb := range []string{"ADD", "CHECK", "DEL"} {
		p := plot.New()
		p.Title.Text = verb + ", " + setting.String()
		p.X.Label.Text, p.Y.Label.Text = "containers", "milliseconds"
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		p.Legend.Top = true
		p.Add(plotter.NewGrid())
		for _, k := range r.curves(verb, setting) {
			line, points, err := plotter.NewLinePoints(k.points)
			if err != nil {
				return err
			}
			line.Color, line.Dashes, points.Color, points.Shape = k.color, k.dashes, k.color, draw.CircleGlyph{}
			p.Add(line, points)
			p.Legend.Add(k.name, line, points)
		}
		if lowest == 0 || p.Y.Min < lowest {
			lowest = p.Y.Min
		}
		highest = max(highest, p.Y.Max)
		panels = append(panels, p)
	}
	for _, p := range panels {
		p.Y.Min, p.Y.Max = lowest, 4*highest // room for the legend
	}
	return save(path, panels)
}

// save draws the panels side by side.
func save(path string, panels []*plot.Plot) error {
	const width, height = 13 * vg.Inch, 4.5 * vg.Inch
	var c vg.CanvasWriterTo
	switch ext := filepath.Ext(path); ext {
	case ".svg":
		c = vgsvg.New(width, height)
	case ".png":
		c = vgimg.PngCanvas{Canvas: vgimg.New(width, height)}
	default:
		return fmt.Errorf("-plot: %q is no kind of picture: it must be .svg or .png", ext)
	}
	grid := [][]*plot.Plot{panels}
	tiles := draw.Tiles{Rows: 1, Cols: len(panels), PadX: vg.Points(10)}
	for i, area := range plot.Align(grid, tiles, draw.New(c))[0] {
		panels[i].Draw(area)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
