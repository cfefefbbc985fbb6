package frametext_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/amqp/frametext"
	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// TestLinesComeBack encodes lines and describes the frames that they make.
func TestLinesComeBack(t *testing.T) {
	for line, want := range map[string][]string{
		`1 queue.declare Queue=q Durable x-max-length:l=10`:    {`1 queue.declare Queue=q Durable Arguments=...`},
		`7 queue.declare Queue="two words" Exclusive`:          {`7 queue.declare Queue="two words" Exclusive`},
		`0 connection.close ReplyCode=200 ReplyText="a b"`:     {`0 connection.close ReplyCode=200 ReplyText="a b"`},
		`1 basic.publish Exchange=x RoutingKey=k Mandatory`:    {`1 basic.publish Exchange=x RoutingKey=k Mandatory`},
		`1 basic.consume Queue=amq.gen-abcdefghij0123456789_-`: {`1 basic.consume Queue=amq.gen-...`},
		`1 content body="hello world" h=1`:                     {`1 header size=11 h=1`, `1 body hello world`},
		`1 content headers`:                                    {`1 header size=0 headers`},
		`1 content mode=2 priority=3 timestamp=9 id=m kind=k`:  {`1 header size=0 id=m kind=k mode=2 priority=3 timestamp=9`},
		`1 content t=true b:b=-1 B:B=1 s:s=-2 u:u=2 i:i=3 l:l=4 L:L=5 S:S=6`: {
			`1 header size=0 t=true b:b=-1 B:B=1 s:s=-2 u:u=2 i:i=3 l:l=4 L:L=5 S:S=6`,
		},
		`1 content f:f=1.5 d:d=2.5 D:D=2,314 x:x=00ff T:T=7 V:V= A=[1,two] F={a=1,b=two}`: {
			`1 header size=0 f:f=1.5 d:d=2.5 D:D=2,314 x:x=00ff T:T=7 V:V="" A=[1,two] F={a=1,b=two}`,
		},
		`1 body some text`: {`1 body some text`},
		`0 heartbeat`:      {`0 heartbeat`},
	} {
		b, err := frametext.Encode(frametext.Split(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		var got []string
		for len(b) > 0 {
			f, n, _, err := wire.ParseFrame(b, 1<<16)
			if err != nil || n == 0 {
				t.Fatalf("%s: frame of %d bytes: %v", line, n, err)
			}
			text, err := frametext.Describe(f)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			got, b = append(got, text), b[n:]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

func TestMalformedLines(t *testing.T) {
	for _, line := range []string{
		"", "1", "x queue.declare", "70000 queue.declare", "1 queue.dance", "1 queue.delete Colour=red",
		"1 basic.ack DeliveryTag=one", "1 content mode=300", "1 content timestamp=now", "1 content h:Q=1",
		"1 content h:l=one", "1 method 0g",
	} {
		if _, err := frametext.Encode(frametext.Split(line)); !errors.Is(err, frametext.ErrSyntax) {
			t.Errorf("%q: got %v, want ErrSyntax", line, err)
		}
	}
}
