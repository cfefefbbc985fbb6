package e2e

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/e2e/checker"
)

// The cast of the crash test. Every publisher's messages go to every consumer,
// whatever protocol either speaks.
const (
	crashQueue     = "crash.work"    // consumed all the time, manual acks
	crashWitness   = "crash.witness" // a queue that is read only at the end
	crashSession   = "crash-session" // MQTT session that is online all the time
	offlineWitness = "crash-offline" // MQTT session that comes back only at the end
	crashGroup     = "crash-group"   // MQTT sessions that share what they get, online all the time
	crashTopic     = "crash/#"       // what the sessions subscribe to
	crashKey       = "crash.#"       // what the queues are bound by
	durableAfter   = 2 * time.Second // an acknowledgement older than this must hold
	shortLife      = 40              // milliseconds between two kills, at least
	longLife       = 900             // milliseconds between two kills, mostly at most
	maxBehind      = 3000            // messages that consumers may lack before publishers wait
	veryLongLife   = 3 * time.Second // now and then, so that acknowledgements get old
)

// crashMembers are the sessions of the group.
var crashMembers = []string{"crash-member-1", "crash-member-2"}

var crashPublishers = []string{"amqp-1", "amqp-2", "qos1", "qos2"}

// kills is how often the crash test kills the broker.
func kills() int {
	if os.Getenv("TIDEGATE_E2E_LONG") == "1" {
		return 50
	}
	return 8
}

func TestNothingConfirmedIsLostByKill(t *testing.T) {
	needsCrash(t)
	eachShardCount(t, func(t *testing.T, b *broker) {
		c := newCrashRun(t, b)
		c.prepare()
		c.startClients()
		for i := range kills() {
			c.live(i)
			c.crash()
		}
		c.finish()
		c.judge()
	})
}

// crashRun is one run of the crash test.
type crashRun struct {
	t       *testing.T
	b       *broker
	history *checker.History

	stopPublishing context.CancelFunc
	publishing     sync.WaitGroup
	stopConsuming  context.CancelFunc
	consuming      sync.WaitGroup
	restarts       int
	confirmWithin  time.Duration // on a connection that lives
}

func newCrashRun(t *testing.T, b *broker) *crashRun {
	h := checker.New(durableAfter)
	for _, consumer := range []string{crashQueue, crashSession} {
		h.Consumer(consumer, checker.Rules{From: crashPublishers})
	}
	h.Consumer(crashGroup, checker.Rules{From: crashPublishers, Shared: true})
	for _, witness := range []string{crashWitness, offlineWitness} {
		h.Consumer(witness, checker.Rules{From: crashPublishers, Once: true})
	}
	return &crashRun{t: t, b: b, history: h, confirmWithin: patience}
}

// prepare makes everything durable that must outlive the crashes.
func (c *crashRun) prepare() {
	ch := openChannel(c.t, c.b.AMQP)
	durableQueue(c.t, ch, crashQueue, crashKey)
	durableQueue(c.t, ch, crashWitness, crashKey)
	for _, session := range []string{crashSession, offlineWitness} {
		s := connect5(c.t, c.b.MQTT, session, mqtt5Options{keep: time.Hour})
		s.subscribe(c.t, crashTopic, 1)
		s.close()
	}
	for _, member := range crashMembers {
		s := connect5(c.t, c.b.MQTT, member, mqtt5Options{keep: time.Hour})
		s.subscribe(c.t, "$share/"+crashGroup+"/"+crashTopic, 2)
		s.close()
	}
	ch.Close()
}

// startClients runs the publishers and consumers until they are told to stop.
func (c *crashRun) startClients() {
	var publish, consume context.Context
	publish, c.stopPublishing = context.WithCancel(context.Background())
	consume, c.stopConsuming = context.WithCancel(context.Background())
	c.t.Cleanup(func() {
		c.stopPublishing()
		c.stopConsuming()
		c.publishing.Wait()
		c.consuming.Wait()
	})
	for _, name := range crashPublishers {
		connection := c.publisher(name)
		c.publishing.Go(func() { c.keepTrying(publish, name, connection) })
	}
	queue := &queueConsumer{run: c, queue: crashQueue}
	c.consuming.Go(func() { c.keepTrying(consume, crashQueue, queue.connection) })
	session := &sessionConsumer{run: c, name: crashSession}
	c.consuming.Go(func() { c.keepTrying(consume, crashSession, session.connection) })
	for _, client := range crashMembers {
		member := &sessionConsumer{run: c, name: crashGroup, client: client}
		c.consuming.Go(func() { c.keepTrying(consume, client, member.connection) })
	}
}

// publisher returns what a publisher does with one connection.
func (c *crashRun) publisher(name string) func(context.Context) error {
	topic := "crash/" + name
	switch {
	case strings.HasPrefix(name, "amqp"):
		return func(stop context.Context) error {
			return c.publishAMQP(stop, name, strings.ReplaceAll(topic, "/", "."))
		}
	case name == "qos2":
		return newQoS2Publisher(c.b.MQTT, name, topic, 20, c.history).run
	default:
		return func(stop context.Context) error { return c.publishQoS1(stop, name, topic) }
	}
}

// keepTrying serves connection after connection until one ends well, which
// they do only when stop is done. After stop a connection gets a last chance
// to complete what it left open.
func (c *crashRun) keepTrying(stop context.Context, name string, connection func(context.Context) error) {
	pause := time.NewTicker(15 * time.Millisecond)
	defer pause.Stop()
	var after time.Time
	for {
		err := connection(stop)
		if err == nil {
			return
		}
		if isPromiseBroken(err) {
			c.t.Errorf("%s: %v", name, err)
			return
		}
		if stop.Err() != nil {
			if after.IsZero() {
				after = time.Now()
			}
			if time.Since(after) > patience {
				c.t.Errorf("%s could not finish: %v", name, err)
				return
			}
		}
		<-pause.C
	}
}

// live lets the broker work until it has confirmed something and a random
// time has passed.
func (c *crashRun) live(round int) {
	life := time.Duration(shortLife+rand.IntN(longLife-shortLife)) * time.Millisecond
	if round%8 == 5 {
		life = veryLongLife
	}
	before := c.history.Confirms()
	timer := time.NewTimer(life)
	defer timer.Stop()
	<-timer.C
	eventually(c.t, "the broker confirms again after a restart", func() bool { return c.history.Confirms() > before })
}

// crash kills the broker and starts it again.
func (c *crashRun) crash() {
	c.history.Crashed(time.Now())
	c.b.kill()
	c.history.Recovered(time.Now())
	c.b.start()
	c.restarts++
}

// finish lets the publishers complete and the consumers catch up, then reads
// what the witnesses have.
func (c *crashRun) finish() {
	c.stopPublishing()
	c.publishing.Wait()
	c.catchUp(crashQueue, crashSession, crashGroup)
	c.stopConsuming()
	c.consuming.Wait()

	reading, stop := context.WithCancel(context.Background())
	defer stop()
	var witnesses sync.WaitGroup
	queue := &queueConsumer{run: c, queue: crashWitness}
	witnesses.Go(func() { c.keepTrying(reading, crashWitness, queue.connection) })
	session := &sessionConsumer{run: c, name: offlineWitness}
	witnesses.Go(func() { c.keepTrying(reading, offlineWitness, session.connection) })
	c.catchUp(crashWitness, offlineWitness)
	stop()
	witnesses.Wait()
}

// catchUp waits until the consumers have all that was confirmed, or get nothing
// more; then the verdict says what is missing.
func (c *crashRun) catchUp(consumers ...string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	stalled := time.NewTimer(patience)
	defer stalled.Stop()
	for before := -1; ; {
		missing := 0
		for _, name := range consumers {
			missing += c.history.Missing(name)
		}
		if missing == 0 {
			return
		}
		if missing != before {
			before = missing
			stalled.Reset(patience)
		}
		select {
		case <-stalled.C:
			return
		case <-tick.C:
		}
	}
}

// holdBack makes a publisher wait while the consumers are far behind, so that
// a long run is about crashes and not about a backlog. It returns false when
// the connection or the publishing has ended.
func (c *crashRun) holdBack(stop context.Context, ended <-chan struct{}) bool {
	for max(c.history.Missing(crashQueue), c.history.Missing(crashSession)) > maxBehind {
		wait := time.NewTimer(5 * time.Millisecond)
		select {
		case <-wait.C:
		case <-ended:
			return false
		case <-stop.Done():
			return false
		}
	}
	return true
}

// judge reports every broken promise, the first ones in full.
func (c *crashRun) judge() {
	broken := c.history.Verdict()
	for i, v := range broken {
		if i == 20 {
			c.t.Errorf("and %d more", len(broken)-i)
			break
		}
		c.t.Error(v)
	}
	c.t.Logf("%d kills; %s", c.restarts, c.history.Summary())
}
