// Command man writes flash's manual pages to a directory: see `make man`.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/openseastack/netboot-imager/internal/operator"
	"github.com/spf13/cobra/doc"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("give the directory to write to, not %d arguments", len(args))
	}
	if err := os.MkdirAll(args[0], 0o777); err != nil {
		return err
	}
	root := operator.Command(operator.Environment{Stdin: strings.NewReader(""), Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv})
	root.DisableAutoGenTag = true // pages are the same whenever they are made
	return doc.GenManTree(root, &doc.GenManHeader{Title: "FLASH", Section: "1", Source: "netboot-imager"}, args[0])
}
