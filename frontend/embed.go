// Package frontend holds the built browser app, so that one binary serves it.
//
// Without a build dist holds no index.html, and Genkan serves no app; Go builds and
// tests need no Node.
package frontend

import "embed"

// Dist is the output of `npm run build`, below the folder dist.
//
//go:embed all:dist
var Dist embed.FS
