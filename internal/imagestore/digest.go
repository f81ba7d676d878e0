package imagestore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
)

// enqueue has the digest of a file computed in the background.
func (s *Store) enqueue(file string) {
	s.mu.Lock()
	s.queue[file] = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// hash computes digests, one file after the other, until ctx ends.
func (s *Store) hash(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		for {
			file := s.next()
			if file == "" {
				break
			}
			if err := s.hashFile(ctx, file); err != nil && ctx.Err() == nil {
				s.logf("computing the sha256 of image %s: %v", file, err)
			}
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// next takes a file from the queue; "" if it is empty.
func (s *Store) next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.queue {
		names = append(names, name)
	}
	if len(names) == 0 {
		return ""
	}
	first := slices.Min(names)
	delete(s.queue, first)
	return first
}

func (s *Store) hashFile(ctx context.Context, file string) error {
	f, err := s.root.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return err
	}
	h := sha256.New()
	buf := make([]byte, 1<<20)
	if _, err := io.CopyBuffer(h, readerFunc(func(p []byte) (int, error) {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		return f.Read(p)
	}), buf); err != nil {
		return err
	}
	after, err := f.Stat()
	if err != nil {
		return err
	}
	if printOf(before) != printOf(after) {
		return nil // it is being written: whoever asks for it next enqueues it again
	}
	return s.setDigest(file, printOf(after), hex.EncodeToString(h.Sum(nil)))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
