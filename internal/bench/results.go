package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
)

// Results are all samples of a run.
type Results struct {
	Machine string               `json:"machine"`
	Cores   int                  `json:"cores"`
	Quick   bool                 `json:"quick,omitempty"`
	Images  map[string]ImageInfo `json:"images"`
	Cases   []CaseResult         `json:"cases"`
}

// ImageInfo describes an image. Sizes are in bytes.
type ImageInfo struct {
	Logical int64            `json:"logical"`
	Data    int64            `json:"data"`
	Sizes   map[string]int64 `json:"sizes"`
}

// CaseResult are the samples of a case by contender.
type CaseResult struct {
	Case
	Order   []string            `json:"order"` // of contenders
	Samples map[string][]Sample `json:"samples"`
}

func cores() int        { return runtime.NumCPU() }
func goVersion() string { return runtime.Version() }

// rounds is how often everybody had a turn.
func (r *CaseResult) rounds() int { return len(r.Samples[Ours]) }

// Add puts the cases of a later run in place of older ones of the same group and format,
// or among them in the order of a whole run, so that groups can be measured one by one.
func (r *Results) Add(later *Results) error {
	if r.Machine != later.Machine || r.Quick != later.Quick {
		return fmt.Errorf("results of other circumstances cannot be added to: %s (quick: %t) and %s (quick: %t)", r.Machine, r.Quick, later.Machine, later.Quick)
	}
	for name, img := range later.Images {
		have, ok := r.Images[name]
		if !ok {
			r.Images[name] = img
			continue
		}
		if have.Logical != img.Logical || have.Data != img.Data {
			return fmt.Errorf("the %s image is another one than that of the results to add to", name)
		}
		maps.Copy(have.Sizes, img.Sizes)
	}
	for _, c := range later.Cases {
		r.Cases = slices.DeleteFunc(r.Cases, func(old CaseResult) bool { return old.Group == c.Group && old.Format == c.Format })
		r.Cases = append(r.Cases, c)
	}
	slices.SortStableFunc(r.Cases, func(a, b CaseResult) int {
		return cmp.Or(cmp.Compare(slices.Index(Groups, a.Group), slices.Index(Groups, b.Group)),
			cmp.Compare(slices.Index(Formats, a.Format), slices.Index(Formats, b.Format)))
	})
	return nil
}

// median returns the median of what f picks of a contender's samples; 0 if it has none.
func (r *CaseResult) median(name string, f func(Sample) float64) float64 {
	var v []float64
	for _, s := range r.Samples[name] {
		v = append(v, f(s))
	}
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// seconds is the median wall time.
func (r *CaseResult) seconds(name string) float64 {
	return r.median(name, func(s Sample) float64 { return s.Seconds })
}

// busy is the median of the whole machine's CPU seconds.
func (r *CaseResult) busy(name string) float64 {
	return r.median(name, func(s Sample) float64 { return s.Busy })
}

// limit is the slowest part alone, and which it is.
func (r *CaseResult) limit() (string, float64) {
	name, most := "", 0.0
	for _, part := range limits {
		if s := r.seconds(part); s > most {
			name, most = part, s
		}
	}
	return name, most
}

// first is a contender's sample of the first round; the zero Sample if there is none.
func (r *CaseResult) first(name string) Sample {
	if s := r.Samples[name]; len(s) > 0 {
		return s[0]
	}
	return Sample{}
}

// Save writes the results to a file.
func (r *Results) Save(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// Load reads what Save wrote.
func Load(path string) (*Results, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Results)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
