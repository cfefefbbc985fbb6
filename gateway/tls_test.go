package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/gateway"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) issue(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template.SerialNumber, template.NotAfter = big.NewInt(2), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tlsConfig returns a gateway configuration with a certificate for 127.0.0.1
// and the authority that signs it and the clients'.
func tlsConfig(t *testing.T) (gateway.Config, *authority) {
	t.Helper()
	a := newAuthority(t)
	server := a.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cfg := gateway.DefaultConfig()
	cfg.TLS.Cert = writePEM(t, "cert.pem", "CERTIFICATE", server.Certificate[0])
	cfg.TLS.Key = writePEM(t, "key.pem", "PRIVATE KEY", key)
	cfg.TLS.ClientCA = writePEM(t, "ca.pem", "CERTIFICATE", a.cert.Raw)
	return cfg, a
}

func (a *authority) client(certs ...tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: certs}
}

// TestTLSNames shows certificates and looks at the name that the connection has.
func TestTLSNames(t *testing.T) {
	cfg, a := tlsConfig(t)
	full := clientCert("press", "press-7.plant", "press-8.plant")
	full.Subject.Organization = []string{"plant"}
	full.EmailAddresses = []string{"press@plant"}
	full.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 7)}
	full.URIs = []*url.URL{{Scheme: "urn", Opaque: "press:7"}}
	twice := clientCert("press")
	twice.Subject.ExtraNames = []pkix.AttributeTypeAndValue{
		{Type: []int{2, 5, 4, 3}, Value: "press"}, {Type: []int{2, 5, 4, 3}, Value: "boss"},
	}
	bare := clientCert("")
	certs := map[string][]tls.Certificate{
		"full": {a.issue(t, full)}, "twice": {a.issue(t, twice)}, "bare": {a.issue(t, bare)}, "none": nil,
	}
	for _, tc := range []struct {
		from, kind string
		index      int
		cert       string
		want       string
	}{
		{gateway.FromCommonName, "dns", 0, "full", "press"},
		{gateway.FromCommonName, "dns", 0, "twice", "press,boss"},
		{gateway.FromCommonName, "dns", 0, "bare", ""},
		{gateway.FromCommonName, "dns", 0, "none", ""},
		{gateway.FromDistinguishedName, "dns", 0, "full", "CN=press,O=plant"},
		{gateway.FromAlternativeName, "dns", 0, "full", "press-7.plant"},
		{gateway.FromAlternativeName, "dns", 1, "full", "press-8.plant"},
		{gateway.FromAlternativeName, "dns", 2, "full", ""},
		{gateway.FromAlternativeName, "email", 0, "full", "press@plant"},
		{gateway.FromAlternativeName, "ip", 0, "full", "192.0.2.7"},
		{gateway.FromAlternativeName, "uri", 0, "full", "urn:press:7"},
	} {
		t.Run(fmt.Sprint(tc.from, tc.kind, tc.index, tc.cert), func(t *testing.T) {
			cfg.TLS.CertLoginFrom, cfg.TLS.CertLoginSANType, cfg.TLS.CertLoginSANIndex = tc.from, tc.kind, tc.index
			seen := make(chan gateway.Conn, 1)
			e := stream("secure", func(ctx context.Context, conn *gateway.Conn) error {
				seen <- gateway.Conn{Identity: conn.Identity, Certified: conn.Certified, Secure: conn.Secure}
				return echo(ctx, conn)
			})
			e.TLS = true
			s := run(t, cfg, nil, e)
			exchange(t, tls.Client(dial(t, s.address(t, "secure")), a.client(certs[tc.cert]...)), "hello")
			got := <-seen
			if got.Identity != tc.want || got.Certified != (tc.cert != "none") || !got.Secure {
				t.Errorf("identity %q, certified %v, secure %v; want %q", got.Identity, got.Certified, got.Secure, tc.want)
			}
		})
	}
}

func TestTLSSettings(t *testing.T) {
	for want, change := range map[string]func(*gateway.TLS){
		"cert_login_from":      func(c *gateway.TLS) { c.CertLoginFrom = "serial_number" },
		"cert_login_san_type":  func(c *gateway.TLS) { c.CertLoginSANType = "other_name" },
		"cert_login_san_index": func(c *gateway.TLS) { c.CertLoginSANIndex = -1 },
		"client_ca":            func(c *gateway.TLS) { c.ClientCA = "ca.pem" },
		"both cert and key":    func(c *gateway.TLS) { c.Cert = "cert.pem" },
	} {
		cfg := gateway.DefaultConfig()
		change(&cfg.TLS)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
}

func clientCert(name string, dns ...string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: dns,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func TestTLSRefuses(t *testing.T) {
	cfg, a := tlsConfig(t)
	e := stream("secure", echo)
	e.TLS = true
	s := run(t, cfg, nil, e)
	for name, client := range map[string]*tls.Config{
		"old version":    {RootCAs: a.client().RootCAs, ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS11},
		"foreign client": a.client(newAuthority(t).issue(t, clientCert("press"))),
	} {
		conn := tls.Client(dial(t, s.address(t, "secure")), client)
		_, err := conn.Write([]byte("x\n"))
		if err == nil { // TLS 1.3 clients learn of a refused certificate when they read
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil {
			t.Errorf("%s: the connection is served", name)
		}
	}
}

func TestTLSHandshakeTimeout(t *testing.T) {
	cfg, _ := tlsConfig(t)
	cfg.HandshakeTimeout = 20 * time.Millisecond
	e := stream("secure", echo)
	e.TLS = true
	s := run(t, cfg, nil, e)
	if _, err := dial(t, s.address(t, "secure")).Read(make([]byte, 1)); err == nil {
		t.Error("a client that says nothing is kept")
	}
}

func TestTLSEndpointNeedsCertificate(t *testing.T) {
	e := stream("secure", echo)
	e.TLS = true
	if _, err := gateway.New(gateway.DefaultConfig(), []gateway.Endpoint{e}, gateway.Deps{}); err == nil {
		t.Error("a TLS endpoint without a certificate is accepted")
	}
}
