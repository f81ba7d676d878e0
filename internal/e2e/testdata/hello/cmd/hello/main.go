// Command hello is the operating system that the end-to-end tests flash: a gokrazy
// program that serves files of /proc on port 8081 (gokrazy itself has 80), to show what it booted from,
// and at /exe the file that it runs from, which `gok run` changes.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	// SIGTERM kills it, after which gokrazy starts it again; one that exited with status 0
	// would stay stopped.
	fmt.Fprintln(os.Stderr, "hello:", run(":8081"))
	os.Exit(1)
}

func run(addr string) error {
	mux := http.NewServeMux()
	for _, name := range []string{"cmdline", "mounts", "meminfo"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			b, err := os.ReadFile("/proc/" + name)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = w.Write(b) // a client that went away asks again
		})
	}
	mux.HandleFunc("GET /exe", func(w http.ResponseWriter, r *http.Request) {
		exe, err := os.Executable()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, exe)
	})
	srv := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return srv.ListenAndServe()
}
