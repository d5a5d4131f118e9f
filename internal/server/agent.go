package server

import "strings"

// browsers and systems are tried in this order: most browsers also claim to be the
// ones they descend from.
var (
	browsers = []struct{ token, name string }{
		{"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"EdgiOS/", "Edge"}, {"Edge/", "Edge"},
		{"OPR/", "Opera"}, {"OPT/", "Opera"}, {"OPX/", "Opera"},
		{"SamsungBrowser/", "Samsung Internet"}, {"Vivaldi/", "Vivaldi"}, {"YaBrowser/", "Yandex Browser"},
		{"DuckDuckGo/", "DuckDuckGo"}, {"Ddg/", "DuckDuckGo"},
		{"FxiOS/", "Firefox"}, {"Firefox/", "Firefox"},
		{"CriOS/", "Chrome"}, {"HeadlessChrome/", "Headless Chrome"}, {"Chrome/", "Chrome"},
		{"curl/", "curl"},
	}
	systems = []struct{ token, name string }{
		{"iPhone", "iOS"}, {"iPod", "iOS"}, {"iPad", "iPadOS"}, {"Android", "Android"}, {"CrOS", "ChromeOS"},
		{"Windows", "Windows"}, {"Macintosh", "macOS"}, {"Linux", "Linux"},
	}
)

// maxVersion is how many digits a version has at most; more are no version.
const maxVersion = 4

// browserLabel is a User-Agent in words, for people: "Chrome 141 on Linux". Nothing of
// the header itself passes but digits.
func browserLabel(agent string) string {
	name, version := "", ""
	for _, b := range browsers {
		if _, after, ok := strings.Cut(agent, b.token); ok {
			name, version = b.name, major(after)
			break
		}
	}
	if _, after, ok := strings.Cut(agent, "Version/"); ok && name == "" && strings.Contains(agent, "Safari/") {
		name, version = "Safari", major(after)
	}
	if name == "" {
		return "Unknown browser"
	}
	if version != "" {
		name += " " + version
	}
	for _, s := range systems {
		if strings.Contains(agent, s.token) {
			return name + " on " + s.name
		}
	}
	return name
}

// major is the number that text begins with, or "".
func major(text string) string {
	digits := text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
	if len(digits) > maxVersion {
		return ""
	}
	return digits
}
