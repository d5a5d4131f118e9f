// Command genkan runs and administers the backend-for-frontend.
//
// It owns the command line: flags, what is printed and the exit codes. A usage error
// exits 2, a found problem 1. Nothing printed here holds a secret, but for the keys
// that `genkan keys` is asked for.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)) }
