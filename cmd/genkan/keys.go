package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"genkan/internal/config"
	"genkan/internal/keys"
)

func keysCommand(p *program) *cobra.Command {
	cmd := group("keys", "Make session keys and signing keys")
	cmd.AddCommand(newKeyCommand(p), rotateCommand(p))
	return cmd
}

func newKeyCommand(p *program) *cobra.Command {
	var signing bool
	var alg string
	cmd := leaf("new", "Print a new session key, or a new private key that signs", cobra.NoArgs, func([]string) error {
		if signing {
			return p.newSigningKey(alg)
		}
		_, err := fmt.Fprintln(p.stdout, keys.Generate())
		return err
	})
	cmd.Flags().BoolVar(&signing, "signing", false, "print a private key for providers[].private_key_file: PEM (PKCS #8), for PS256 a JWK")
	cmd.Flags().StringVar(&alg, "alg", "ES256", "what the private key signs by: `ES256`, PS256 or EdDSA")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case cmd.Flags().Changed("alg") && !signing:
			return errors.New("--alg goes with --signing")
		case !slices.Contains([]string{"ES256", "PS256", "EdDSA"}, alg):
			return fmt.Errorf("--alg %q is none of ES256, PS256 and EdDSA", alg)
		}
		return nil
	}
	return cmd
}

func (p *program) newSigningKey(alg string) error {
	key, err := keys.GenerateSigning(alg)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(p.stdout, key.Reveal()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stderr, `This is a secret. Put it into a file that only Genkan's user may read (umask 077), and
name that file in providers[].private_key_file. The public half is then at
<public url>/.well-known/jwks.json, which is the jwks_uri to register at the provider.`)
	return err
}

func rotateCommand(p *program) *cobra.Command {
	var src *config.Sources
	var file string
	var last bool
	cmd := leaf("rotate", "Put a new session key first, keep the old ones for reading", cobra.NoArgs, func([]string) error {
		if file != "" {
			return p.rotateFile(file, last)
		}
		return p.rotate(*src, last)
	})
	cmd.Long = `Put a new session key first, keep the old ones for reading.

Without --file it prints the new value of GENKAN_SESSION_KEYS, made from the
keys that are configured; mind who sees it. With --file it rewrites a file of
keys, one a line, and prints no key; run it as the user that Genkan runs as,
since nobody else may read the file then.

Genkan reads a changed file by itself, within ten seconds, or at once on SIGHUP.
The new key opens from then on and seals five minutes later, when every replica
has read the file. Keep the old key for session.absolute_timeout after that (12h
unless it is set): cookies are sealed once. Then remove its line.

Keys in the environment change with a restart. Replicas that restart one after
the other must all open what one of them seals, so go in three steps, each on
every replica: with --last add a new key that only opens; move it to the front;
when session.absolute_timeout has passed, remove the old one.`
	src = p.sourceFlags(cmd)
	cmd.Flags().StringVar(&file, "file", "", "rewrite this `FILE`, which session.keys_file names")
	cmd.Flags().BoolVar(&last, "last", false, "put the new key last, where it only opens")
	cmd.MarkFlagsMutuallyExclusive("file", "config")
	cmd.MarkFlagsMutuallyExclusive("file", "env-file")
	return cmd
}

func (p *program) rotate(src config.Sources, last bool) error {
	current, found := config.SessionKeys(src)
	if found.Failed() {
		printFindings(p.stderr, found)
		return errFound
	}
	_, err := fmt.Fprintln(p.stdout, strings.Join(rotated(current, last), ","))
	return err
}

// rotated is current with a new key first or last.
func rotated(current []keys.Secret, last bool) []string {
	var list []string
	for _, key := range current {
		list = append(list, key.Reveal())
	}
	if last {
		return append(list, keys.Generate())
	}
	return slices.Insert(list, 0, keys.Generate())
}

// rotateFile replaces a file of keys in one step, so that a Genkan that reads it
// meanwhile sees the old list or the new one.
func (p *program) rotateFile(path string, last bool) error {
	current, found := config.SessionKeys(config.Sources{
		EnvFile: os.DevNull, Files: []string{os.DevNull}, Environ: []string{"GENKAN_SESSION_KEYS_FILE=" + path},
	})
	if found.Failed() {
		for i := range found {
			found[i].Where = path
		}
		printFindings(p.stderr, found)
		return errFound
	}
	target, err := filepath.EvalSymlinks(path) // a link stays one
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(target), ".genkan-keys-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temporary.WriteString(strings.Join(rotated(current, last), "\n") + "\n")
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	_, err = fmt.Fprintf(p.stdout, "%s now has %s.\n", path, plural(len(current)+1, "key"))
	return err
}
