package devidp

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
)

// rogueID is the kid of the key that is published nowhere.
const rogueID = "rogue"

// maxRecorded bounds the names that Stats.Recorded counts.
const maxRecorded = 20

// recorded is an address that faults name and no client may call. It answers what a
// client that is careless enough to call it hopes for, so that it then goes wrong.
func (p *Provider) recorded(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	p.mu.Lock()
	if p.stats.Recorded == nil {
		p.stats.Recorded = map[string]int{}
	}
	if p.stats.Recorded[name] > 0 || len(p.stats.Recorded) < maxRecorded {
		p.stats.Recorded[name]++
	}
	p.mu.Unlock()
	switch name {
	case "jku":
		p.json(w, r, http.StatusOK, map[string]any{"keys": []any{jwk(p.rogueKey().Public(), "RS256", rogueID)}})
	case "x5u":
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.rogueCertificate()}))
	default:
		p.json(w, r, http.StatusOK, map[string]any{"groups": []string{"from-afar"}, "value": []string{"from-afar"}})
	}
}

func (p *Provider) rogueKey() *rsa.PrivateKey { return p.out.rogue() }

// rogueCertificate is self-signed.
func (p *Provider) rogueCertificate() []byte {
	key, now := p.rogueKey(), p.cfg.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic("devidp: " + err.Error())
	}
	return der
}

// keySetText is what /jwks answers when nothing is wrong.
func (p *Provider) keySetText() []byte {
	text, _ := json.Marshal(map[string]any{"keys": p.keySet()}) // no error for the keys we make
	return append(text, '\n')
}
