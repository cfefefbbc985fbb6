package mqtt_test

import (
	"testing"

	"github.com/tidegate/tidegate/gateway"
)

// TestCertificateLogin connects with certificates, as the front door tells of
// them, and with passwords, which then count.
func TestCertificateLogin(t *testing.T) {
	w := newWorld(t)
	w.user("press", "secret", ".*", ".*")
	for name, tc := range map[string]struct {
		shown  gateway.Conn
		user   string
		pass   string
		reason byte
	}{
		"its user":                 {gateway.Conn{Certified: true, Identity: "press"}, "", "", 0},
		"no user":                  {gateway.Conn{Certified: true, Identity: "nobody"}, "", "", 0x86},
		"no name, and not guest":   {gateway.Conn{Certified: true}, "", "", 0x86},
		"the name is no namespace": {gateway.Conn{Certified: true, Identity: "plant:press"}, "", "", 0x86},
		"a right password":         {gateway.Conn{Certified: true, Identity: "nobody"}, "press", "secret", 0},
		"a wrong password":         {gateway.Conn{Certified: true, Identity: "press"}, "press", "wrong", 0x86},
		"no certificate":           {gateway.Conn{Identity: "nobody"}, "", "", 0}, // anonymous
	} {
		w.shown.Store(&tc.shown)
		c := w.dial()
		c.send(connect{v5: true, clean: true, id: name, user: tc.user, password: tc.pass}.bytes())
		if ack := c.read(); ack.kind != 2 || ack.body[1] != tc.reason {
			t.Errorf("%s: got %v, want a CONNACK with 0x%x", name, ack, tc.reason)
		}
	}
}
