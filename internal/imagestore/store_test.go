package imagestore

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// rig is a store in a directory.
type rig struct {
	*Store
	t   *testing.T
	dir string
	db  *bolt.DB
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "images")}
	r.open()
	t.Cleanup(r.close)
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.db, err = bolt.Open(filepath.Join(filepath.Dir(r.dir), "db"), 0o600, &bolt.Options{NoSync: true}); err != nil {
		r.t.Fatal(err)
	}
	if r.Store, err = Open(r.dir, r.db, r.t.Logf); err != nil {
		r.t.Fatal(err)
	}
	r.Reserve = 0
}

func (r *rig) close() {
	if err := errors.Join(r.Close(), r.db.Close()); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) write(name, content string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// files is what the directory holds, with contents.
func (r *rig) files() map[string]string {
	r.t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		m[strings.TrimPrefix(path, r.dir+"/")] = string(b)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// get downloads name.
func (r *rig) get(name string, header ...string) (*http.Response, string) {
	r.t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := r.Serve(w, req, name); err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
		}
	}))
	defer srv.Close()
	req, _ := http.NewRequest("GET", srv.URL, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(b)
}

func TestNames(t *testing.T) {
	r := newRig(t)
	r.write("both.img", "raw")
	r.write("both.img.gz", "gzip")
	r.write("one.img", "one")
	r.write("plain", "plain")
	r.write("plain.img.sha256", "not an image")
	for name, want := range map[string]string{
		"both": "gzip", "both.img": "raw", "both.img.gz": "gzip", "one": "one", "one.img": "one", "plain": "plain",
	} {
		if resp, got := r.get(name); resp.StatusCode != 200 || got != want {
			t.Errorf("%s: %d %q, want %q", name, resp.StatusCode, got, want)
		}
	}
	images, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, im := range images {
		got = append(got, im.Name+"="+im.File)
	}
	if want := []string{"both.img=both.img", "both=both.img.gz", "one=one.img", "plain=plain"}; !slices.Equal(got, want) {
		t.Errorf("List = %q, want %q", got, want)
	}
}

func TestNoEscape(t *testing.T) {
	r := newRig(t)
	r.write("../secret.img", "secret")
	r.write(".hidden.img", "secret")
	r.write(uploadDir+"/x.part", "secret")
	if err := os.Symlink("../secret.img", filepath.Join(r.dir, "link.img")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(r.dir, "etc")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../secret", "../secret.img", "/etc/passwd", "etc/passwd", ".hidden", ".hidden.img",
		uploadDir, uploadDir + "/x.part", "link", "link.img", `..\secret`, "a\x00b", "a\nb", "-x", "x.sha256", strings.Repeat("x", 201)} {
		if resp, got := r.get(name); resp.StatusCode != http.StatusTeapot || strings.Contains(got, "root:") || got == "secret" {
			t.Errorf("%q: %d %q, want it refused", name, resp.StatusCode, got)
		}
		before := r.files()
		if _, err := r.Put(Upload{File: name, Length: 1, Total: 1}, strings.NewReader("x")); err == nil && name != "link" && name != "link.img" {
			t.Errorf("Put %q: no error", name)
		}
		if err := r.Delete(name); err == nil && name != "link" && name != "link.img" {
			t.Errorf("Delete %q: no error", name)
		}
		if name != "link" && name != "link.img" && len(r.files()) != len(before) {
			t.Errorf("%q changed files", name)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(r.dir, "../secret.img")); string(b) != "secret" {
		t.Errorf("the file outside is now %q", b)
	}
}

func TestETag(t *testing.T) {
	r := newRig(t)
	r.write("a.img", "one")
	path := filepath.Join(r.dir, "a.img")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	tag := func() string { resp, _ := r.get("a"); return resp.Header.Get("ETag") }
	first := tag()
	if len(first) < 10 || strings.HasPrefix(first, "W/") || first[0] != '"' {
		t.Errorf("ETag = %s, want a strong one", first)
	}
	if again := tag(); again != first {
		t.Errorf("ETag = %s, then %s", first, again)
	}
	r.close()
	r.open()
	if again := tag(); again != first {
		t.Errorf("ETag = %s, and %s after a restart", first, again)
	}
	// The same size and the same modification time, in place.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("two")
	f.Close()
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	second := tag()
	if second == first {
		t.Error("the ETag did not change with the content")
	}
	// A download of the old content must not go on with the new one.
	if resp, got := r.get("a", "Range", "bytes=1-", "If-Range", first); resp.StatusCode != 200 || got != "two" {
		t.Errorf("If-Range with the old ETag: %d %q, want 200 and all of it", resp.StatusCode, got)
	}
	if resp, got := r.get("a", "Range", "bytes=1-", "If-Range", second); resp.StatusCode != 206 || got != "wo" {
		t.Errorf("If-Range: %d %q, want 206 and the rest", resp.StatusCode, got)
	}
}

// wait looks at an image until ok.
func (r *rig) wait(name string, ok func(*Image) bool) *Image {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		im, f, err := r.Open(name)
		if err != nil {
			r.t.Fatal(err)
		}
		f.Close()
		if ok(im) {
			return im
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%+v: not as expected within 20 s", im)
		}
	}
}

// sum of "hello\n", as sha256sum prints it.
const sum = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"

func TestDigest(t *testing.T) {
	r := newRig(t)
	r.write("a.img", "hello\n")
	im := r.wait("a", func(im *Image) bool { return im.Checked })
	if im.SHA256 != sum {
		t.Errorf("sha256 = %s, want %s", im.SHA256, sum)
	}
	if resp, _ := r.get("a"); resp.Header.Get("X-Image-SHA256") != sum {
		t.Errorf("X-Image-SHA256 = %q", resp.Header.Get("X-Image-SHA256"))
	}
	r.close()
	r.open()
	if im := r.wait("a", func(*Image) bool { return true }); !im.Checked {
		t.Error("the digest did not survive a restart")
	}
}

func TestSidecar(t *testing.T) {
	r := newRig(t)
	r.write("good.img.sha256", strings.ToUpper(sum)+"  good.img\n")
	r.write("good.img", "hello\n")
	r.write("bad.img.sha256", sum)
	r.write("bad.img", "hellO\n")
	if im := r.wait("good", func(im *Image) bool { return im.Checked }); im.Error != "" {
		t.Errorf("%+v", im)
	}
	r.wait("bad", func(im *Image) bool { return im.Error != "" })
	if resp, got := r.get("bad"); resp.StatusCode != http.StatusTeapot || !strings.Contains(got, "damaged") {
		t.Errorf("a damaged image: %d %q, want it refused", resp.StatusCode, got)
	}
	if resp, _ := r.get("good"); resp.StatusCode != 200 {
		t.Errorf("a good image: %d", resp.StatusCode)
	}
}

func TestFormat(t *testing.T) {
	r := newRig(t)
	for name, content := range map[string]string{"raw": "x", "gzip": "\x1f\x8b\x08", "xz": "\xfd7zXZ\x00\x00", "zstd": "\x28\xb5\x2f\xfd", "bzip2": "BZh9"} {
		r.write(name+".img", content)
		im, f, err := r.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if im.Format != name {
			t.Errorf("format = %s, want %s", im.Format, name)
		}
	}
}

// breaking ends with an error.
func breaking(s string) io.Reader {
	return io.MultiReader(strings.NewReader(s), readerFunc(func([]byte) (int, error) { return 0, errors.New("cut") }))
}

func TestUpload(t *testing.T) {
	r := newRig(t)
	r.write("a.img", "old")
	r.write("a.img.sha256", sum)
	// It breaks off: what was there is still served.
	if _, err := r.Put(Upload{File: "a.img", Length: 6, Total: 6, SHA256: sum}, breaking("hel")); err == nil || !strings.Contains(err.Error(), "3 of 6") {
		t.Errorf("a broken upload: %v", err)
	}
	if _, got := r.get("a"); got != "old" {
		t.Errorf("after a broken upload: %q, want the old image", got)
	}
	r.close() // the server is restarted
	r.open()
	if have, total, err := r.Have("a.img"); have != 3 || total != 6 || err != nil {
		t.Errorf("Have = %d, %d, %v, want 3, 6", have, total, err)
	}
	before := r.files()
	for _, u := range []Upload{
		{File: "a.img", Offset: 2, Length: 4, Total: 6},
		{File: "a.img", Offset: 4, Length: 2, Total: 6},
		{File: "a.img", Offset: 3, Length: 4, Total: 7},
		{File: "a.img", Offset: 3, Length: 3, Total: 6, SHA256: strings.Repeat("0", 64)},
		{File: "a.img", Offset: 3, Length: 4, Total: 6},
		{File: "b.img", Offset: 3, Length: 3, Total: 6},
		{File: "a.img", Offset: -1, Length: 7, Total: 6},
		{File: "a.img", Offset: 0, Length: 0, Total: 0},
	} {
		var conflict *ConflictError
		if _, err := r.Put(u, strings.NewReader("xxxxxxx")); !errors.As(err, &conflict) {
			t.Errorf("%+v: %v, want a conflict", u, err)
		}
	}
	if got := r.files(); len(got) != len(before) || got[uploadDir+"/a.img.part"] != "hel" || got["a.img"] != "old" {
		t.Errorf("refused uploads changed files: %q, want %q", got, before)
	}
	// What was not made durable is not trusted.
	r.write(uploadDir+"/a.img.part", "hel\x00\x00")
	im, err := r.Put(Upload{File: "a.img", Offset: 3, Length: 3, Total: 6}, strings.NewReader("lo\n"))
	if err != nil || im == nil || im.Size != 6 {
		t.Fatalf("Put = %+v, %v", im, err)
	}
	if got := r.files(); len(got) != 1 || got["a.img"] != "hello\n" {
		t.Errorf("files = %q, want the image alone", got)
	}
}

func TestUploadInPieces(t *testing.T) {
	r := newRig(t)
	for i, piece := range []string{"he", "ll", "o\n"} {
		im, err := r.Put(Upload{File: "a.img", Offset: int64(2 * i), Length: 2, Total: 6}, strings.NewReader(piece))
		if err != nil || (im != nil) != (i == 2) {
			t.Fatalf("piece %d: %v, %v", i, im, err)
		}
	}
	if _, got := r.get("a"); got != "hello\n" {
		t.Errorf("got %q", got)
	}
}

func TestUploadWrongDigest(t *testing.T) {
	r := newRig(t)
	r.write("a.img", "old")
	_, err := r.Put(Upload{File: "a.img", Length: 6, Total: 6, SHA256: sum}, strings.NewReader("hellO\n"))
	var digest *DigestError
	if !errors.As(err, &digest) {
		t.Errorf("%v, want a wrong digest", err)
	}
	if got := r.files(); len(got) != 1 || got["a.img"] != "old" {
		t.Errorf("files = %q, want the old image alone", got)
	}
}

func TestUploadRoom(t *testing.T) {
	r := newRig(t)
	free, err := r.Free()
	if err != nil || free <= 0 {
		t.Fatal(free, err)
	}
	var space *SpaceError
	if _, err := r.Put(Upload{File: "a.img", Length: 1 << 60, Total: 1 << 60}, nil); !errors.As(err, &space) {
		t.Errorf("%v, want no room", err)
	}
	r.Reserve = 1 << 60
	if _, err := r.Put(Upload{File: "a.img", Length: 1, Total: 1}, strings.NewReader("x")); !errors.As(err, &space) {
		t.Errorf("%v, want no room", err)
	}
	if got := r.files(); len(got) != 0 {
		t.Errorf("files = %q, want none", got)
	}
}

func TestUploadBusy(t *testing.T) {
	r := newRig(t)
	pr, pw := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := r.Put(Upload{File: "a.img", Length: 6, Total: 6}, pr)
		done <- err
	}()
	pw.Write([]byte("hel")) // it has begun
	var busy *BusyError
	if _, err := r.Put(Upload{File: "a.img", Length: 1, Total: 1}, strings.NewReader("x")); !errors.As(err, &busy) {
		t.Errorf("%v, want busy", err)
	}
	pw.Write([]byte("lo\n"))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, got := r.get("a"); got != "hello\n" {
		t.Errorf("got %q", got)
	}
}

func TestDelete(t *testing.T) {
	r := newRig(t)
	r.write("a.img", "x")
	r.write("a.img.sha256", sum)
	r.write("b.img", "x")
	if err := r.Delete("a.img"); err != nil {
		t.Error(err)
	}
	var none *NotFoundError
	if err := r.Delete("a.img"); !errors.As(err, &none) {
		t.Errorf("%v, want not found", err)
	}
	if got := r.files(); len(got) != 1 || !bytes.Equal([]byte(got["b.img"]), []byte("x")) {
		t.Errorf("files = %q, want b.img", got)
	}
}
