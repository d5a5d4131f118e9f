package main

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"

	"genkan/internal/keys"
)

func TestTheSigningKeyAloneIsOnStandardOutput(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"keys", "new", "--signing"},
		{"keys", "new", "--signing", "--alg", "PS256"},
		{"keys", "new", "--alg=EdDSA", "--signing"},
	} {
		var out, hint bytes.Buffer
		if code := run(args, nil, strings.NewReader(""), &out, &hint); code != 0 {
			t.Fatalf("%v: exit %d: %s", args, code, hint.String())
		}
		block, rest := pem.Decode(out.Bytes())
		if pem := block != nil && block.Type == "PRIVATE KEY" && len(rest) == 0; pem == strings.Contains(strings.Join(args, " "), "PS256") {
			t.Errorf("%v: one PEM block: %v", args, pem)
		}
		if signers, err := keys.ParseSigners(out.Bytes()); err != nil || len(signers) != 1 {
			t.Errorf("%v: private_key_file cannot hold it: %v", args, err)
		}
		if strings.Contains(hint.String(), "PRIVATE") || !strings.Contains(hint.String(), "private_key_file") {
			t.Errorf("%v: %s", args, hint.String())
		}
	}
}

func TestMistakesInAskingForAKeyExitTwoAndPrintNone(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"keys", "new", "--signing", "--alg", "RS256"},
		{"keys", "new", "--signing", "--alg", ""},
		{"keys", "new", "--signing", "--alg", "es256"},
		{"keys", "new", "--alg", "ES256"},
		{"keys", "new", "--signing", "more"},
		{"keys", "new", "--sign"},
	} {
		var out, said bytes.Buffer
		if code := run(args, nil, strings.NewReader(""), &out, &said); code != 2 || out.Len() > 0 || said.Len() == 0 {
			t.Errorf("%v: exit %d, %d bytes printed: %s", args, code, out.Len(), said.String())
		}
	}
}
