package station

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// description is docs/openapi.yaml. Its schemas are JSON schemas, as OpenAPI 3.1 has it, so
// a JSON schema validator is all that the check of an answer needs: the whole OpenAPI
// libraries take longer to compile than these tests to run.
type description struct {
	doc map[string]any

	mu       sync.Mutex
	compiler *jsonschema.Compiler
}

const openapiURL = "http://station.example/openapi.json"

var openapi = sync.OnceValues(func() (*description, error) {
	text, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		return nil, err
	}
	var parsed any
	if err := yaml.Unmarshal(text, &parsed); err != nil {
		return nil, err
	}
	b, err := json.Marshal(parsed)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	d := &description{doc: doc.(map[string]any), compiler: jsonschema.NewCompiler()}
	d.compiler.AssertFormat()
	return d, d.compiler.AddResource(openapiURL, doc)
})

// at returns what is in the description at a JSON pointer and below that at keys, and where
// that is. It follows a $ref that is there, and returns nil if there is nothing.
func (d *description) at(pointer string, keys ...string) (string, map[string]any) {
	escape, unescape := strings.NewReplacer("~", "~0", "/", "~1"), strings.NewReplacer("~1", "/", "~0", "~")
	for _, key := range keys {
		pointer += "/" + escape.Replace(key)
	}
	m := d.doc
	for _, key := range strings.Split(pointer, "/")[1:] {
		m, _ = m[unescape.Replace(key)].(map[string]any)
	}
	if ref, ok := m["$ref"].(string); ok {
		return d.at(strings.TrimPrefix(ref, "#"))
	}
	return pointer, m
}

// compiled returns the schema at pointer.
func (d *description) compiled(pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compiler.Compile(openapiURL + "#" + pointer) // once; it keeps what it has compiled
}

// valid checks v against the schema at pointer.
func (d *description) valid(pointer string, v any) error {
	schema, err := d.compiled(pointer)
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// check says what in an answer is not as it is described.
func (d *description) check(method, path string, status int, header http.Header, body []byte) error {
	at, op := d.at("", "paths", path, strings.ToLower(method))
	if op == nil {
		return fmt.Errorf("%s %s is not described", method, path)
	}
	ptr, response := d.at(at, "responses", strconv.Itoa(status))
	if response == nil {
		ptr, response = d.at(at, "responses", "default")
	}
	if response == nil {
		return fmt.Errorf("an answer %d is not described", status)
	}
	headers, _ := response["headers"].(map[string]any)
	for name := range headers {
		hptr, h := d.at(ptr, "headers", name)
		value := header.Get(name)
		if value == "" {
			if h["required"] == true {
				return fmt.Errorf("the answer %d has no %s", status, name)
			}
			continue
		}
		var v any = value
		if n, err := strconv.Atoi(value); err == nil {
			v = n
		}
		if err := d.valid(hptr+"/schema", v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	cptr, content := d.at(ptr, "content", kind)
	if content == nil {
		return fmt.Errorf("an answer %d of the type %q is not described", status, kind)
	}
	var v any = string(body)
	if kind == "application/json" {
		var err error
		if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(body)); err != nil {
			return err
		}
	}
	return d.valid(cptr+"/schema", v)
}

// described checks an answer against docs/openapi.yaml. All answers of this package's
// tests come by here.
func described(t *testing.T, req *http.Request, resp *http.Response, body []byte) {
	t.Helper()
	// The description says nothing of paths and methods that there are not, nor of HEAD, nor
	// of what a test adds.
	if req.Method == http.MethodHead || resp.StatusCode == http.StatusMethodNotAllowed || req.URL.Path == "/panic" ||
		resp.StatusCode == http.StatusNotFound && req.URL.Path != "/write-image" {
		return
	}
	d, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.check(req.Method, req.URL.Path, resp.StatusCode, resp.Header, body); err != nil {
		t.Errorf("%s %s: the answer %d %s is not as docs/openapi.yaml has it: %v", req.Method, req.URL.Path, resp.StatusCode, body, err)
	}
}

// describedEvent checks the data of an event of GET /events, which is what GET /status answers.
func describedEvent(t *testing.T, event map[string]any) {
	t.Helper()
	data, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	described(t, httptest.NewRequest("GET", "http://x:8888/status", nil), &http.Response{StatusCode: 200, Header: jsonHeader}, data)
}

var jsonHeader = http.Header{"Content-Type": {"application/json"}}

// TestOpenAPI checks the description itself by the OpenAPI initiative's schema, and that it
// has the paths and methods that are served and no other.
func TestOpenAPI(t *testing.T) {
	d, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	// https://spec.openapis.org/oas/3.1/schema/2022-10-07
	official, err := jsonschema.NewCompiler().Compile("testdata/openapi-3.1-schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := official.Validate(d.doc); err != nil {
		t.Error(err)
	}
	if official.Validate(map[string]any{"openapi": "3.1.0", "info": map[string]any{"title": "no version"}}) == nil {
		t.Error("the schema of OpenAPI lets everything pass")
	}
	_, components := d.at("", "components", "schemas")
	for name := range components {
		if _, err := d.compiled("/components/schemas/" + name); err != nil {
			t.Error(err)
		}
	}

	paths, operations := map[string]bool{}, map[string]bool{} // "GET /status"
	_, items := d.at("", "paths")
	for path, item := range items {
		paths[path] = true
		for method := range item.(map[string]any) {
			operations[strings.ToUpper(method)+" "+path] = true
		}
	}
	g := newRig(t, 4*mib)
	// The station itself lists its paths, to whoever asks for one that there is not.
	for _, path := range regexp.MustCompile(`/[a-z-]+\b`).FindAllString(g.do("GET", "/0", nil).text, -1) {
		paths[path] = true
	}
	if len(paths) < 11 {
		t.Errorf("paths: %v", paths)
	}
	for _, method := range []string{"GET", "POST", "DELETE", "PUT", "PATCH"} {
		for path := range paths {
			handle, _, _ := g.station.router.Lookup(method, path)
			if name := method + " " + path; operations[name] != (handle != nil) {
				t.Errorf("%s: served: %v, described: %v", name, handle != nil, operations[name])
			}
		}
	}
}

// TestOpenAPIRefuses checks that the check can fail: each answer passes as it is, and does not
// once it is changed.
func TestOpenAPIRefuses(t *testing.T) {
	d, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	digest := strings.Repeat("ab", 32)
	receipt := `{"job":"0123abcd","version":"1","image_url":"http://x/y","format":"raw","image_size":1,"image_sha256":"` + digest + `",
		"transfer_size":1,"transfer_sha256":"` + digest + `","retries":0,"device":"/dev/mmcblk0","device_size":1,"partitions":[],"verified":true,
		"repaired":[],"zeroed_bytes":0,"written_bytes":0,"read_back_while_writing_bytes":0,"zeroing_offload":false,"direct_io":true,
		"started":"2026-01-01T00:00:00Z","finished":"2026-01-01T00:00:00Z","phase_seconds":{"wipe":0,"write":0,"sync":0,"verify":0,"finish":0}}`
	for _, test := range []struct{ path, body, old, new string }{
		{"/status", `{"stage":"idle","percent":0,"message":"Ready","error":null}`, `"idle"`, `"idle","undescribed":1`},
		{"/status", `{"stage":"idle","percent":0,"message":"Ready","error":null}`, `"error":null`, `"error":0`},
		{"/disks", `{"disks":[{"device":"/dev/mmcblk0","present":false,"removable":true}]}`, `"present":false,`, ``},
		{"/disks", `{"disks":[{"device":"/dev/mmcblk0","present":false,"removable":true}]}`, `"present":false`, `"present":false,"undescribed":1`},
		{"/receipts", `{"receipts":[` + receipt + `]}`, `"repaired":[]`, `"repaired":[],"undescribed":1`},
		{"/receipts", `{"receipts":[` + receipt + `]}`, `"wipe":0`, `"wipe":0,"undescribed":1`},
		{"/receipts", `{"receipts":[` + receipt + `]}`, `"verified":true,`, ``},
		{"/health", `{"service":"netboot-imager","status":"ok","version":"1"}`, `netboot-imager`, `something else`},
		{"/images", `{"images":[]}`, `{"images":[]}`, `not JSON`},
	} {
		for body, want := range map[string]bool{test.body: true, strings.Replace(test.body, test.old, test.new, 1): false} {
			if err := d.check("GET", test.path, 200, jsonHeader, []byte(body)); (err == nil) != want {
				t.Errorf("%s: %s passes: %v, want %v: %v", test.path, body, err == nil, want, err)
			}
		}
	}
	failure := []byte(`{"success":false,"error":"Because."}`)
	for _, test := range []struct {
		method, path string
		status       int
		header       http.Header
		want         bool
	}{
		{"POST", "/reboot", 409, jsonHeader, true},
		{"POST", "/reboot", 200, jsonHeader, false}, // a failure is no success
		{"POST", "/write-image", 418, jsonHeader, false},
		{"POST", "/write-image", 429, jsonHeader, false}, // without Retry-After
		{"POST", "/write-image", 429, http.Header{"Content-Type": {"application/json"}, "Retry-After": {"6"}}, true},
		{"POST", "/write-image", 409, http.Header{"Content-Type": {"text/html"}}, false},
		{"PUT", "/write-image", 409, jsonHeader, false},
		{"GET", "/nope", 409, jsonHeader, false},
	} {
		if err := d.check(test.method, test.path, test.status, test.header, failure); (err == nil) != test.want {
			t.Errorf("%s %s %d: %v, want it to pass: %v", test.method, test.path, test.status, err, test.want)
		}
	}
}
