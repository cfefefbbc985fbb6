package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	mqtt3 "github.com/eclipse/paho.mqtt.golang"
	amqp "github.com/rabbitmq/amqp091-go"
)

// authority signs certificates, which it writes to files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes an authority whose own certificate is in ca.pem.
func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	a.key, der = a.sign(template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

// sign makes a key and a certificate of it, signed by the authority or by itself.
func (a *authority) sign(template *x509.Certificate, parent *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue writes name.pem and name-key.pem, a certificate with that common name
// for clients and for servers on 127.0.0.1.
func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	key, der := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.cert)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+"-key.pem", "PRIVATE KEY", secret)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// client is the TLS configuration of a client with the certificates.
func (a *authority) client(certs ...tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots, Certificates: certs}
}

// startSecureBroker runs a broker with TLS addresses for both protocols, which
// believes the authority's client certificates.
func startSecureBroker(t *testing.T, a *authority) (b *broker, amqps, mqtts string) {
	t.Helper()
	needsCrash(t)
	a.issue("server")
	b = newBroker(t, t.TempDir(), 1)
	amqps, mqtts = freeAddr(t), freeAddr(t)
	b.env = []string{
		"TIDEGATE_GATEWAY_TLS_CERT=" + a.path("server.pem"), "TIDEGATE_GATEWAY_TLS_KEY=" + a.path("server-key.pem"),
		"TIDEGATE_GATEWAY_TLS_CLIENT_CA=" + a.path("ca.pem"),
		"TIDEGATE_LISTEN_AMQPS=" + amqps, "TIDEGATE_LISTEN_MQTTS=" + mqtts,
		"TIDEGATE_LISTEN_MQTT_WSS=", "TIDEGATE_LISTEN_HTTPS=",
	}
	b.start()
	return b, amqps, mqtts
}

// TestExternalOverTLS logs in by certificates over both protocols. guest may come
// from this machine without a password then.
func TestExternalOverTLS(t *testing.T) {
	a := newAuthority(t)
	_, amqps, mqtts := startSecureBroker(t, a)
	guest, ghost := a.issue("guest"), a.issue("ghost")
	dial := func(certs ...tls.Certificate) (*amqp.Connection, error) {
		return amqp.DialConfig("amqps://"+amqps+"/", amqp.Config{
			SASL: []amqp.Authentication{&amqp.ExternalAuth{}}, TLSClientConfig: a.client(certs...),
		})
	}
	conn, err := dial(guest)
	if err != nil {
		t.Fatalf("log in over AMQP: %v", err)
	}
	ch := channelOn(t, conn)
	durableQueue(t, ch, "external", "external")
	publishing := amqp.Publishing{UserId: "guest", Body: []byte("hello")}
	if err := ch.PublishWithContext(t.Context(), "amq.topic", "external", true, false, publishing); err != nil {
		t.Fatal(err)
	}
	if d := receive(t, consumeQueue(t, ch, "external", 1)); d.UserId != "guest" || string(d.Body) != "hello" {
		t.Errorf("got %q of user %q", d.Body, d.UserId)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if _, err := dial(ghost); !errors.Is(err, amqp.ErrCredentials) {
		t.Errorf("a certificate of nobody: got %v, want %v", err, amqp.ErrCredentials)
	}
	if _, err := dial(); !errors.Is(err, amqp.ErrSASL) {
		t.Errorf("no certificate: got %v, want %v", err, amqp.ErrSASL)
	}
	if _, err := dial(newAuthority(t).issue("guest")); err == nil {
		t.Error("a certificate of another authority is let in")
	}

	for name, tc := range map[string]struct {
		cert tls.Certificate
		in   bool
	}{"guest": {guest, true}, "ghost": {ghost, false}} {
		options := mqtt3.NewClientOptions().AddBroker("ssl://" + mqtts).SetClientID(name).
			SetTLSConfig(a.client(tc.cert)).SetConnectRetry(false).SetAutoReconnect(false)
		c := mqtt3.NewClient(options)
		token := c.Connect()
		if !token.WaitTimeout(patience) {
			t.Fatalf("%s: no CONNACK within %v", name, patience)
		}
		if (token.Error() == nil) != tc.in {
			t.Errorf("%s over MQTT: got %v, want in %v", name, token.Error(), tc.in)
		}
		c.Disconnect(0)
	}
}

// TestClientPikaExternal logs in with pika's ExternalCredentials.
func TestClientPikaExternal(t *testing.T) {
	needsPython(t, "pika")
	a := newAuthority(t)
	_, amqps, _ := startSecureBroker(t, a)
	a.issue("guest")
	a.issue("ghost")
	cmd := exec.CommandContext(within(t), python, "clients/pika_external.py", amqps, a.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("pika_external.py: %v\n%s", err, out)
	}
}
