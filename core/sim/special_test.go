package sim_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/core"
)

// rules are what the arguments of a queue ask for.
type rules struct {
	heirs  []string // the queues that get its dead letters; nil when it has none
	strict bool     // keeps a dead letter that no queue gets
	orphan bool     // an heir was away, at times
	ttl    time.Duration
	term   time.Duration // after which the queue ends when nobody uses it; 0 for never
	bounds *bounds       // nil for none
	spills bool          // makes dead letters of what it refuses

	highest uint8 // priority
	counted bool  // counts what comes back, and gives up what has more often than returns
	returns int
}

const (
	// deadExchange leads dead letters to two queues.
	deadExchange = "amq.direct"
	deadKey      = "dead"
	// late is a queue for dead letters that comes and goes.
	late = "late"
)

// graves are the queues of dead letters that are always there.
var graves = []string{"grave", "tomb"}

// newSpecials makes two queues whose rules the seed chooses, and where their dead
// letters go.
func (w *world) newSpecials() {
	for i := range 2 {
		q := &queue{spec: core.QueueSpec{Name: fmt.Sprint("z", i), Durable: true, Args: map[string]any{}}, rules: new(rules)}
		q.competing = w.rng.IntN(4) == 0
		if d := w.rng.IntN(5); d > 1 {
			q.spec.Args["x-durability"] = []string{"fsync", "os", "memory"}[d-2]
		}
		w.chooseDeadLetters(q)
		w.chooseLife(q)
		w.chooseLength(q)
		w.choosePriorities(q)
		w.chooseTerm(q)
		w.log("%s has %v", q.spec.Name, q.spec.Args)
		w.clients.queues = append(w.clients.queues, q)
	}
	for _, name := range append([]string{late}, graves...) {
		if !w.isHeir(name) {
			continue
		}
		q := &queue{spec: core.QueueSpec{Name: name, Durable: true, Args: map[string]any{"x-durability": "fsync"}}}
		if name != late {
			q.key, q.lasting = deadKey, true
		}
		w.clients.queues = append(w.clients.queues, q)
	}
}

func (w *world) isHeir(name string) bool {
	for _, q := range w.clients.queues {
		if q.heir(name) {
			return true
		}
	}
	return false
}

// chooseDeadLetters gives a queue a place for its dead letters, or none.
func (w *world) chooseDeadLetters(q *queue) {
	exchange, key := "", graves[0]
	switch w.rng.IntN(5) {
	case 0, 1:
		q.rules.heirs = graves[:1]
	case 2:
		exchange, key = deadExchange, deadKey
		q.rules.heirs = graves
	case 3:
		key = late
		q.rules.heirs = []string{late}
	default:
		return
	}
	q.spec.Args["x-dead-letter-exchange"], q.spec.Args["x-dead-letter-routing-key"] = exchange, key
	if w.rng.IntN(2) == 0 {
		q.spec.Args["x-dead-letter-strategy"], q.rules.strict = "at-least-once", true
	}
}

// deaths writes the properties of dead letters: "reason@queue" for each death, the
// latest first.
func deaths(_ *core.Broker, d *core.Death) (core.DeadLetter, error) {
	all := []string{d.Reason + "@" + d.Queue}
	if d.Known {
		all = append(all, strings.Split(string(d.Message.Properties), " ")...)
	}
	letter := core.DeadLetter{Key: d.Message.Key, Properties: []byte(strings.Join(all, " "))}
	for _, one := range all {
		reason, queue, _ := strings.Cut(one, "@")
		letter.Past = append(letter.Past, core.PastDeath{Queue: queue, Reason: reason})
	}
	return letter, nil
}

// bind binds a queue to where it gets messages from, beside its name.
func (w *world) bind(q *queue) {
	if q.bound {
		err := w.Bind(context.Background(), namespaceName, core.BindingSpec{Source: fanout, Dest: q.spec.Name})
		w.failed("bind "+q.spec.Name, err)
	}
	if q.key != "" {
		err := w.Bind(context.Background(), namespaceName, core.BindingSpec{Source: deadExchange, Dest: q.spec.Name, Key: q.key})
		w.failed("bind "+q.spec.Name, err)
	}
}
