package inflate

// A history keeps the last 32 KiB of output, which matches may reach back to from
// the next Read. It is a buffer of twice that, so that small Reads do not move
// all of it each time.
type history struct {
	buf []byte
	len int // bytes of buf in use; the last ones are the newest
}

// add appends p.
func (h *history) add(p []byte) {
	if h.buf == nil {
		h.buf = make([]byte, 2*historyReach)
	}
	if len(p) >= historyReach {
		h.len = copy(h.buf, p[len(p)-historyReach:])
		return
	}
	if h.len+len(p) > len(h.buf) {
		h.len = copy(h.buf, h.buf[h.len-historyReach:h.len])
	}
	h.len += copy(h.buf[h.len:], p)
}

// last returns the last n bytes, or nil if there are not as many.
func (h *history) last(n int) []byte {
	if n > h.len {
		return nil
	}
	return h.buf[h.len-n : h.len]
}

// copyMatch copies a match to p[n:] and returns where the output then ends. What
// there is no room for is kept for the next call of decode. The match may reach
// back before p.
func (d *Reader) copyMatch(p []byte, n, dist, length int) int {
	m := min(length, len(p)-n)
	d.matchLen, d.matchDist = length-m, dist
	end := n + m
	if back := dist - n; back > 0 {
		old := d.hist.last(back)
		if old == nil {
			d.matchLen = 0
			d.corrupt(tooFar)
			return n
		}
		n += copy(p[n:end], old)
	}
	// A match that overlaps itself repeats. Each step makes the part that does twice as
	// long.
	for from := n - dist; n < end; {
		n += copy(p[n:end], p[from:n])
	}
	return end
}
