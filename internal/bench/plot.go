package bench

import (
	"fmt"
	"html/template"
	"io"
	"math"
)

// bar is a row of the plot: coloured pieces behind each other, in seconds.
type bar struct {
	Y      int
	Label  string
	Note   string
	NoteX  float64
	Pieces []piece
}

type piece struct {
	X, W  float64
	Class string
	Title string
}

// heading is a group's title in the plot.
type heading struct {
	Y    int
	Text string
}

const (
	plotLeft  = 210
	plotWidth = 620
	rowHeight = 15
)

// stagesOf names the pieces of the imager's bars; their classes are s0, s1, ….
var stagesOf = []string{"wipe", "write", "flush", "read back", "first MiB"}

var plotTemplate = template.Must(template.New("plot").Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 {{.Height}}" font-family="sans-serif" font-size="11" role="img" aria-label="Stages of a write">
<style>text{fill:#333}.h{font-size:13px;font-weight:bold}.n{fill:#666}.s0{fill:#c0504d}.s1{fill:#4f81bd}.s2{fill:#9bbb59}.s3{fill:#8064a2}.s4{fill:#f79646}.a{fill:#bbb}.p{fill:#888}</style>
<rect width="960" height="{{.Height}}" fill="#fff"/>
{{range .Legend}}<rect x="{{.X}}" y="8" width="10" height="10" class="{{.Class}}"/><text x="{{.W}}" y="17">{{.Title}}</text>
{{end}}{{range .Headings}}<text x="10" y="{{.Y}}" class="h">{{.Text}}</text>
{{end}}{{range .Bars}}{{$y := .Y}}<text x="200" y="{{.Y}}" text-anchor="end" transform="translate(0 9)">{{.Label}}</text>{{range .Pieces}}<rect x="{{printf "%.1f" .X}}" y="{{$y}}" width="{{printf "%.1f" .W}}" height="11" class="{{.Class}}"><title>{{.Title}}</title></rect>{{end}}<text x="{{printf "%.1f" .NoteX}}" y="{{.Y}}" class="n" transform="translate(0 9)">{{.Note}}</text>
{{end}}</svg>
`))

// plot draws the stages of the imager's writes below the limit's parts and the first peer.
// Each case has its own scale: what matters is which part is long.
func (r *Results) plot(w io.Writer) error {
	var data struct {
		Height   int
		Legend   []piece
		Headings []heading
		Bars     []bar
	}
	x := 10.0
	legend := func(class, title string) {
		data.Legend = append(data.Legend, piece{X: x, W: x + 14, Class: class, Title: title})
		x += 34 + 6.2*float64(len(title))
	}
	for i, s := range stagesOf {
		legend(fmt.Sprintf("s%d", i), s)
	}
	legend("a", "a part alone")
	legend("p", "the first peer")
	y := 28
	for _, group := range Groups {
		cases := r.group(group)
		if len(cases) == 0 {
			continue
		}
		y += 16
		data.Headings = append(data.Headings, heading{y, groupTitles[group]})
		y += 8
		for _, c := range cases {
			rows := append(append([]string{}, limits...), Ours, Verified)
			if c.seconds(Reflash) > 0 {
				rows = append(rows, Reflash)
			}
			if p := c.peers(); len(p) > 0 {
				rows = append(rows, p[0])
			}
			longest := 0.0
			for _, name := range rows {
				longest = math.Max(longest, c.seconds(name))
			}
			for _, name := range rows {
				data.Bars = append(data.Bars, c.bar(name, y, plotWidth/longest))
				y += rowHeight
			}
			y += 8
		}
	}
	data.Height = y + 8
	return plotTemplate.Execute(w, data)
}

// bar makes the row of a contender at y.
func (r *CaseResult) bar(name string, y int, scale float64) bar {
	label := map[string]string{Ours: "imager", Verified: "imager, verified", Reflash: "the same again"}[name]
	if label == "" {
		label = name
	}
	total := r.seconds(name)
	b := bar{Y: y, Label: r.Format + ": " + label, Note: fmt.Sprintf("%.2f s", total), NoteX: plotLeft + total*scale + 4}
	switch name {
	case Ours, Verified, Reflash:
		p := r.phases(name)
		x := 0.0
		for i, s := range []float64{p.Wipe, p.Write, p.Sync, p.Verify, p.Finish} {
			b.Pieces = append(b.Pieces, piece{plotLeft + x*scale, s * scale, fmt.Sprintf("s%d", i), fmt.Sprintf("%s: %.2f s", stagesOf[i], s)})
			x += s
		}
		if k := r.first(name).Bottleneck; k != "" {
			b.Note += ", bottleneck: " + k
		}
	case Download, Decode, Write:
		b.Pieces = []piece{{plotLeft, total * scale, "a", b.Note}}
	default:
		b.Pieces = []piece{{plotLeft, total * scale, "p", b.Note}}
	}
	return b
}
