package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"genkan/internal/finding"
	"genkan/internal/rp"
)

// presetNames are the values that preset may have.
func presetNames() (names []string) {
	for _, p := range rp.Presets() {
		names = append(names, p.Name)
	}
	return names
}

// providerSetting is one of the settings of a provider.
func providerSetting(key string) setting {
	return providerRows[slices.IndexFunc(providerRows, func(r row[provider]) bool { return r.key == key })].setting
}

// presetOf is the preset that o names; one that is not known has been or will be refused.
func (l *loader) presetOf(o object) (preset rp.Preset) {
	v, _ := l.pick(providerSetting("preset"), o)
	for _, p := range rp.Presets() {
		if p.Name == v.text {
			preset = p
		}
	}
	return preset
}

// withPreset lays what the preset knows below what is written down in o. Of settings that
// are pairs, each name counts for itself.
func (l *loader) withPreset(o object, preset rp.Preset) object {
	from := "preset " + preset.Name
	issuer, _ := l.pick(providerSetting("issuer"), o)
	below := layer{}
	for key, text := range preset.Settings {
		text = strings.ReplaceAll(text, "{origin}", originOf(issuer.text))
		if text != "" {
			below[key] = providerSetting(key).value(text, o.base+key, from)
		}
	}
	o.layers = slices.Insert(slices.Clone(o.layers), 0, below)

	params := maps.Clone(preset.Params)
	if scopes, _ := l.pick(providerSetting("scopes"), o); preset.Offline != nil && slices.Contains(scopes.list, offlineAccess) {
		params = preset.Offline
	}
	above := layer{}
	for key, pairs := range map[string]map[string]string{"claims": preset.Claims, "authorize_params": params} {
		written, ok := l.pick(providerSetting(key), o)
		switch {
		case len(pairs) == 0 || written.bad:
		case !ok:
			below[key] = value{pairs: pairs, where: o.base + key, from: from}
		default:
			all := maps.Clone(pairs)
			maps.Copy(all, written.pairs)
			if len(all) > len(written.pairs) {
				written.pairs, written.from = all, written.from+", "+from
				above[key] = written
			}
		}
	}
	o.layers = append(o.layers, above)
	return o
}

const offlineAccess = "offline_access"

// originOf is scheme and host of an issuer, "" when it has none.
func originOf(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// checkPreset says what the preset finds wrong with the settings that came out.
func (l *loader) checkPreset(p *provider, where func(string) string, out outcomes) {
	preset := p.preset
	p.Quirks = preset.Quirks
	if preset.Offline != nil {
		p.Scopes = slices.DeleteFunc(slices.Clone(p.Scopes), func(scope string) bool { return scope == offlineAccess })
	}
	if out.refused("issuer") {
		return
	}
	if detail, fix := preset.CheckIssuer(p.Issuer); detail != "" && p.Issuer != "" {
		l.add(finding.ProviderInvalid.New(where("issuer"), detail, fix))
		return
	}
	for _, a := range preset.Advice {
		_, named := out[a.Setting].pairs[a.Name]
		holds := named || slices.Contains(out[a.Setting].list, a.Name)
		if !out.refused(a.Setting) && a.Concerns(p.Issuer, holds) {
			l.warn(finding.ProviderInvalid.New(where(a.Setting), a.Detail, a.Fix))
		}
	}
}
