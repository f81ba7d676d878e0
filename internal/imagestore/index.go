package imagestore

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// bucket of the database that holds the index, file name → entry.
var bucket = []byte("images")

// print tells one content of a file from the next: no write leaves the change time as it
// was, not even one that resets the modification time. The device number is not in it, as
// that may change when the machine restarts.
type print struct {
	Inode uint64 `json:"inode"`
	Size  int64  `json:"size"`
	Mtime int64  `json:"mtime"` // nanoseconds since 1970
	Ctime int64  `json:"ctime"`
}

func printOf(info fs.FileInfo) print {
	p := print{Size: info.Size(), Mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		p.Inode, p.Ctime = st.Ino, st.Ctim.Nano()
	}
	return p
}

// entry is what is known of one content of a file.
type entry struct {
	Print  print  `json:"print"`
	ETag   string `json:"etag"`             // without quotes
	SHA256 string `json:"sha256,omitempty"` // hex; empty until it has been computed
}

// entryOf returns the entry of the file's present content, and makes one if there is
// none. fresh says that its digest has to be computed.
func (s *Store) entryOf(name string, p print) (e entry, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucket).Get([]byte(name)); b != nil {
			return json.Unmarshal(b, &e)
		}
		return nil
	})
	if err != nil {
		return entry{}, fmt.Errorf("reading the image index: %w", err)
	}
	if e.ETag != "" && e.Print == p {
		return e, nil
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		if old := b.Get([]byte(name)); old != nil { // another request may have been first
			if err := json.Unmarshal(old, &e); err != nil {
				return err
			}
			if e.ETag != "" && e.Print == p {
				return nil
			}
		}
		tag := make([]byte, 16)
		rand.Read(tag)
		e = entry{Print: p, ETag: hex.EncodeToString(tag)}
		return put(b, name, e)
	})
	if err != nil {
		return entry{}, fmt.Errorf("writing the image index: %w", err)
	}
	return e, nil
}

// setDigest notes the digest of the content that p tells.
func (s *Store) setDigest(name string, p print, sum string) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		var e entry
		if old := b.Get([]byte(name)); old != nil {
			if err := json.Unmarshal(old, &e); err != nil {
				return err
			}
		}
		if e.Print != p {
			return nil // it has been replaced meanwhile
		}
		e.SHA256 = sum
		return put(b, name, e)
	})
}

func put(b *bolt.Bucket, name string, e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return b.Put([]byte(name), text)
}
