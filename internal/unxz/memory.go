package unxz

// segmentSize is in what pieces compressed bytes wait for their decoder.
const segmentSize = 64 << 10

// memory hands out buffers and takes them back for the next block, so that
// their sum stays within a bound. The Reader's mutex guards it.
type memory struct {
	limit    int64
	total    int64    // bytes of all buffers and segments there are
	used     int64    // bytes promised to jobs
	buffers  [][]byte // free ones
	segments [][]byte // free ones
}

// promise reserves n bytes if they fit, or if nobody else has any.
func (m *memory) promise(n int64) bool {
	if m.used > 0 && m.used+n > m.limit {
		return false
	}
	m.used += n
	return true
}

// bufferSize is how much memory a buffer of n bytes takes: whole segments, so
// that it can serve for blocks of nearly the same size.
func bufferSize(n int64) int64 {
	return (n + segmentSize - 1) / segmentSize * segmentSize
}

// buffer returns n bytes of what was promised. A free buffer may be longer than
// need be, if it fits: extra is by how much, and is promised as well.
func (m *memory) buffer(n int) (b []byte, extra int64) {
	size := bufferSize(int64(n))
	best := -1
	for i, b := range m.buffers {
		if int64(cap(b)) >= size && (best < 0 || cap(b) < cap(m.buffers[best])) {
			best = i
		}
	}
	if best >= 0 {
		b := m.buffers[best]
		if extra := int64(cap(b)) - size; extra == 0 || m.used+extra <= m.limit {
			last := len(m.buffers) - 1
			m.buffers[best] = m.buffers[last]
			m.buffers[last] = nil
			m.buffers = m.buffers[:last]
			m.used += extra
			return b[:n], extra
		}
	}
	m.shrink(size)
	m.total += size
	return make([]byte, size)[:n], 0
}

// putBuffer takes a buffer back.
func (m *memory) putBuffer(b []byte) {
	m.buffers = append(m.buffers, b[:cap(b)])
}

// segment returns an empty segment.
func (m *memory) segment() []byte {
	if n := len(m.segments); n > 0 {
		s := m.segments[n-1]
		m.segments = m.segments[:n-1]
		return s
	}
	m.shrink(segmentSize)
	m.total += segmentSize
	return make([]byte, 0, segmentSize)
}

// putSegment takes a segment back.
func (m *memory) putSegment(s []byte) { m.segments = append(m.segments, s[:0]) }

// shrink drops free memory until n more bytes are within the limit, or there
// is none left to drop.
func (m *memory) shrink(n int64) {
	for m.total+n > m.limit && len(m.buffers) > 0 {
		last := len(m.buffers) - 1
		m.total -= int64(cap(m.buffers[last]))
		m.buffers[last] = nil
		m.buffers = m.buffers[:last]
	}
	for m.total+n > m.limit && len(m.segments) > 0 {
		last := len(m.segments) - 1
		m.total -= segmentSize
		m.segments[last] = nil
		m.segments = m.segments[:last]
	}
}
