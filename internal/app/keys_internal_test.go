package app

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"genkan/internal/config"
	"genkan/internal/finding"
	"genkan/internal/keys"
)

// SetKeyWatch makes Run look at the session keys every so often, and lets a new first
// key seal after so long.
func (a *App) SetKeyWatch(every, sealAfter time.Duration) {
	a.keys.every, a.keys.sealAfter = every, sealAfter
}

const (
	keyA = "rv6wWm8XcXWn2hIE5wDmjcPLGzO0uxBTtJ7o5ZrJ0pQ="
	keyB = "zaQrMCw2YHQsEfJLWTRFKk9Cuw2dzv3uHThnzbJpr80="
)

func TestLooksAtTheSessionKeys(t *testing.T) {
	t.Parallel()
	idA, idB := idOf(t, keyA), idOf(t, keyB)
	type look struct {
		content string // the keys, or a code of what is wrong with them
		asked   bool
		ids     []string // what is in the ring afterwards
		said    string   // in the log; "" for nothing
	}
	for _, row := range []struct {
		name  string
		looks []look
	}{
		{"nothing changes", []look{{keyA, false, idA, ""}, {keyA, false, idA, ""}}},
		{"asked for nothing", []look{{keyA, true, idA, "nothing has changed"}}},
		{"taken over at the second look", []look{
			{keyB + " " + keyA, false, idA, ""}, {keyB + " " + keyA, false, append(idB, idA...), "session keys read again"}, {keyB + " " + keyA, false, append(idB, idA...), ""}}},
		{"asked for: at once", []look{{keyB + " " + keyA, true, append(idB, idA...), "session keys read again"}, {keyB + " " + keyA, false, append(idB, idA...), ""}}},
		{"half-written", []look{
			{keyB, false, idA, ""}, {keyB + " " + keyA, false, idA, ""}, {keyB + " " + keyA, false, append(idB, idA...), "session keys read again"}}},
		{"gone for a moment", []look{{"GK503", false, idA, ""}, {keyA, false, idA, ""}, {keyA, false, idA, ""}}},
		{"wrong: said once", []look{
			{"GK302", false, idA, ""}, {"GK302", false, idA, "GK302"}, {"GK302", false, idA, ""}, {"GK303", false, idA, ""}, {"GK303", false, idA, "GK303"}}},
		{"wrong, then right", []look{{"GK302", true, idA, "GK302"}, {keyB, true, idB, "session keys read again"}}},
		{"wrong, then as before", []look{{"GK302", true, idA, "GK302"}, {keyA, true, idA, "session keys read again"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			content := keyA
			w := newKeyWatch(config.Session{Keys: listOf(keyA), ReadKeys: func() ([]keys.Secret, finding.Findings) {
				if strings.HasPrefix(content, "GK") {
					wrong, _ := finding.Lookup(content)
					return nil, finding.Findings{wrong.New("session.keys", "", "")}
				}
				return listOf(content), nil
			}}, ringOf(t, keyA), slog.New(slog.NewTextHandler(&log, nil)))
			for i, l := range row.looks {
				content = l.content
				log.Reset()
				w.look(t.Context(), l.asked)
				if diff := cmp.Diff(l.ids, w.ring.IDs()); diff != "" {
					t.Errorf("look %d: %s", i+1, diff)
				}
				if said := log.String(); !strings.Contains(said, l.said) || (l.said == "") != (said == "") {
					t.Errorf("look %d: %q was logged, want %q", i+1, said, l.said)
				}
				if strings.Contains(log.String(), keyA[:8]) || strings.Contains(log.String(), keyB[:8]) {
					t.Errorf("look %d: a key is in the log", i+1)
				}
			}
		})
	}
}

// Only who asks is told that keys of the environment do not change.
func TestKeysOfTheEnvironmentAreNotReadAgain(t *testing.T) {
	t.Parallel()
	for asked, want := range map[bool]string{true: "a restart", false: ""} {
		var log bytes.Buffer
		w := newKeyWatch(config.Session{Keys: listOf(keyA)}, ringOf(t, keyA), slog.New(slog.NewTextHandler(&log, nil)))
		w.look(t.Context(), asked)
		if said := log.String(); !strings.Contains(said, want) || (said == "") != (want == "") {
			t.Errorf("asked %v: %q was logged, want %q", asked, said, want)
		}
	}
}

func TestAReloadSaysWhichKeysCameAndWent(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w := newKeyWatch(config.Session{Keys: listOf(keyA), ReadKeys: func() ([]keys.Secret, finding.Findings) { return listOf(keyB), nil }},
		ringOf(t, keyA), slog.New(slog.NewJSONHandler(&log, nil)))
	w.look(t.Context(), true)
	var got map[string]any
	if err := json.Unmarshal(log.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "INFO", "msg": "session keys read again", "keys": 1.0, "ids": []any{idOf(t, keyB)[0]},
		"added": []any{idOf(t, keyB)[0]}, "removed": []any{idOf(t, keyA)[0]}, "first_seals_within": "5m0s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func listOf(content string) (list []keys.Secret) {
	for key := range strings.FieldsSeq(content) {
		list = append(list, keys.NewSecret(key))
	}
	return list
}

func ringOf(t *testing.T, content string) *keys.Ring {
	t.Helper()
	ring, err := keys.Parse(listOf(content))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func idOf(t *testing.T, key string) []string { t.Helper(); return ringOf(t, key).IDs() }
