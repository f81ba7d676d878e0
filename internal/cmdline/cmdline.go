// Package cmdline reads the Linux kernel's command line.
//
// The syntax is that of Documentation/admin-guide/kernel-parameters.rst and of
// next_arg in the kernel's lib/cmdline.c: parameters are separated by white space,
// a value follows the first "=", and double quotes keep white space together.
package cmdline

import "strings"

// Get returns the value of the last parameter called name in line, as the kernel lets
// a later parameter override an earlier one. A parameter without "=" has the value "".
// Parameters behind "--" belong to init and are not looked at.
func Get(line, name string) (value string, ok bool) {
	for _, f := range fields(line) {
		if f == "--" {
			break
		}
		k, v, _ := strings.Cut(f, "=")
		if unquote(k) == name {
			value, ok = unquote(v), true
		}
	}
	return value, ok
}

// fields splits line at white space outside double quotes.
func fields(line string) []string {
	var out []string
	start, quoted := -1, false
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '"' {
			quoted = !quoted
		}
		if space := c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == 0; space && !quoted {
			if start >= 0 {
				out = append(out, line[start:i])
				start = -1
			}
		} else if start < 0 {
			start = i
		}
	}
	if start >= 0 {
		out = append(out, line[start:])
	}
	return out
}

// unquote removes the double quotes that fields kept.
func unquote(s string) string { return strings.ReplaceAll(s, `"`, "") }
