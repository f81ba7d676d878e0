package operator

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/vbauerster/mpb/v8/decor"
)

// size is a number of bytes as disks are sold by.
func size(n int64) string { return fmt.Sprintf("% .1f", decor.SizeB1000(n)) }

// clean makes what a station or a disk says safe for a terminal: an escape sequence in
// a disk's model could hide what is asked.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
}

// table writes rows of cells, aligned.
func table(w io.Writer, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	tw.Flush()
}

// diskCells name a disk so that it cannot be taken for another.
func diskCells(d client.Disk) []string {
	serial := "no serial"
	if d.Serial != "" {
		serial = "serial " + d.Serial
	}
	parts := "no partitions"
	switch n := len(d.Partitions); {
	case n == 1:
		parts = "1 partition"
	case n > 1:
		parts = fmt.Sprintf("%d partitions", n)
	}
	return []string{d.Device, size(d.Size), cmp.Or(d.Model, "unknown model"), serial, parts}
}

// detail is rate, time left and bottleneck of a running job.
func detail(st client.Status) string {
	if st.BytesPerSecond <= 0 {
		text := st.Message
		if st.Running() { // the advice behind it leaves no room for a bar
			text, _, _ = strings.Cut(text, "; ")
		}
		return clean(text)
	}
	s := size(st.BytesPerSecond) + "/s"
	if st.ETASeconds != nil {
		s += ", " + (time.Duration(*st.ETASeconds) * time.Second).String() + " left"
	}
	if st.Stage == "writing" && st.Bottleneck != "" { // of reading back it says nothing
		s += ", limited by the " + map[string]string{"decompress": "decompression"}[st.Bottleneck]
		if st.Bottleneck != "decompress" {
			s += clean(st.Bottleneck)
		}
	}
	return s
}

// count is "1 station", "3 stations".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
