package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"genkan/internal/finding"
	"genkan/internal/keys"
)

// developmentKey is where `genkan dev` keeps its session key.
const developmentKey = ".genkan/session.key"

// developmentDefaults puts what `genkan dev` presumes below everything else: the
// development provider and its demo API on this machine, and Vite's dev server.
func (l *loader) developmentDefaults() {
	l.developmentKeys(true)
	l.layers = slices.Insert(l.layers, 0, layer{"spa.origins": presumed("spa.origins", "http://localhost:5173", true)})
	if len(l.providers) == 0 && !slices.ContainsFunc(l.oidc, namesProvider) {
		l.providers = []object{presumedObject("providers[0].", map[string]string{
			"id": "dev", "name": "Development provider", "issuer": "http://127.0.0.1:9000",
			"client_id": "genkan-dev", "client_secret": "genkan-dev-secret",
		})}
		l.providers[0].layers[0]["scopes"] = presumed("providers[0].scopes", "openid,profile,email,groups,offline_access", true)
	}
	const demo = "/api/demo/"
	if !slices.ContainsFunc(l.upstreams, func(o object) bool { return o.layers[0]["path"].text == demo }) {
		l.upstreams = append(slices.Clone(l.upstreams), presumedObject(fmt.Sprintf("upstreams[%d].", len(l.upstreams)), map[string]string{"path": demo, "url": "http://127.0.0.1:9100/", "auth": "required"}))
	}
}

func presumed(where, text string, isList bool) value {
	v := value{where: where, from: fromDevelopment, text: text}
	if isList {
		v.text, v.list = "", splitList(text)
	}
	return v
}

func presumedObject(base string, texts map[string]string) object {
	o := object{base: base, layers: []layer{{}}}
	for key, text := range texts {
		o.layers[0][key] = presumed(base+key, text, false)
	}
	return o
}

// developmentKeys names the file with the key of an earlier run, unless other keys are
// given. With create the file is there afterwards, for this user alone.
func (l *loader) developmentKeys(create bool) {
	given := func(in layer) bool {
		_, plain := in["session.keys"]
		_, file := in["session.keys_file"]
		return plain || file
	}
	if slices.ContainsFunc(l.layers, given) {
		return
	}
	file := presumed(developmentKey, developmentKey, false)
	path := under(l.src.Dir, developmentKey)
	if _, err := os.Stat(path); create && errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(path, []byte(keys.Generate()+"\n"), 0o600)
		}
		if err != nil {
			l.add(finding.SettingUnread.New(developmentKey, reason(err), "Make the folder .genkan writable, or set GENKAN_SESSION_KEYS."))
			file.bad = true
		}
	}
	l.layers = slices.Insert(l.layers, 0, layer{"session.keys_file": file})
}
