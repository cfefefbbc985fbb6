package amqp_test

import (
	"testing"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/gateway"
)

// TestExternal logs in by what the front door tells of a client's certificate.
func TestExternal(t *testing.T) {
	h := newHarness(t)
	const refused = "0 connection.close ReplyCode=403 ReplyText=ACCESS_REFUSED - Login was refused using authentication" +
		" mechanism EXTERNAL. For details see the broker logfile. FailingMethod=connection.start-ok"
	for name, tc := range map[string]struct {
		certified  bool
		identity   string
		mechanisms string
		want       string // "" for an end without a word
	}{
		"a user":              {true, "reader", "PLAIN AMQPLAIN EXTERNAL", "0 connection.tune ChannelMax=2047 FrameMax=131072 Heartbeat=60"},
		"no user":             {true, "nobody", "PLAIN AMQPLAIN EXTERNAL", refused},
		"a nameless one":      {true, "", "PLAIN AMQPLAIN EXTERNAL", refused},
		"without certificate": {false, "", "PLAIN AMQPLAIN", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			h.shown.Store(&gateway.Conn{Certified: tc.certified, Identity: tc.identity})
			r := h.dial()
			r.write([]byte(wire.Protocol))
			if got := string(expect[*wire.ConnectionStart](r).Mechanisms); got != tc.mechanisms {
				t.Errorf("offered %q, want %q", got, tc.mechanisms)
			}
			m := startOK("", "", "authentication_failure_close")
			m.Mechanism, m.Response = "EXTERNAL", nil
			r.send(0, m)
			if tc.want == "" {
				r.expectEOF()
			} else if got := r.describe(); got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}
