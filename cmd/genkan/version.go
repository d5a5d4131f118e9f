package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func versionCommand(p *program) *cobra.Command {
	return leaf("version", "Print version, commit and Go version", cobra.NoArgs, func([]string) error {
		version, commit, goVersion := "unknown", "unknown", "unknown"
		if info, ok := debug.ReadBuildInfo(); ok {
			version, goVersion = info.Main.Version, info.GoVersion
			commit = commitOf(info.Settings)
		}
		_, err := fmt.Fprintf(p.stdout, "genkan %s\ncommit %s\n%s\n", version, commit, goVersion)
		return err
	})
}

// commitOf reads what the go command stamped into the program.
func commitOf(settings []debug.BuildSetting) string {
	commit, changed := "unknown", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return commit + changed
}
