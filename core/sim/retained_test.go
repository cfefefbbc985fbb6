package sim_test

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/core"
)

// retainedTopic is the topic with a retained value.
const retainedTopic = "r/x"

// noValue stands for a topic without retained value.
const noValue = -1

// retained is what the retained value may be, by the number of its message.
type retained struct {
	sure int   // the last that was confirmed
	may  []int // published since, in order
}

// confirm notes that a publish is durable, and so what came before it is gone.
func (r *retained) confirm(id int) {
	if i := slices.Index(r.may, id); i >= 0 {
		r.sure, r.may = id, r.may[i+1:]
	}
}

// retain publishes a retained value, or asks for it.
func (w *world) retain(p *publisher) {
	if w.cfg.Durability != "fsync" {
		return // a fault may bring an earlier value back
	}
	if w.rng.IntN(2) == 0 {
		w.askRetained()
		return
	}
	m := w.send(p.name+retainedTopic, w.subscribers(retainedTopic))
	m.reach(w.doubtful(), true)
	w.clients.retained.may = append(w.clients.retained.may, m.id)
	w.publish(p, m, core.Message{
		Format: core.FormatMQTT, Exchange: []byte(core.TopicExchange), Key: []byte(retainedTopic), QoS: 1, Retain: true,
	}, nil)
	if r := &w.clients.retained; m.refused {
		r.may = slices.DeleteFunc(r.may, func(id int) bool { return id == m.id })
	}
}

// askRetained subscribes to the topic and looks what comes.
func (w *world) askRetained() {
	h, _, err := w.OpenSession(context.Background(), namespaceName, core.SessionSpec{
		ClientID: "asks", Clean: true, Notify: func() {}, Live: func(*core.Message, []core.SubID) bool { return true },
	})
	if w.failed("open", err) {
		return
	}
	_, err = h.Subscribe(context.Background(), []core.SubscriptionSpec{{Filter: "r/+", QoS: 1, Retained: true}})
	if !w.failed("subscribe", err) {
		got, err := h.Next(nil, 100)
		if w.failed("receive", err) {
			w.heal()
		} else {
			w.checkRetained(got)
		}
	}
	w.failed("close", h.Close(context.Background()))
}

func (w *world) checkRetained(got []core.Delivery) {
	value := noValue
	for i := range got {
		if got[i].Retained {
			text, _, _ := strings.Cut(string(got[i].Message.Payload), " ")
			value, _ = strconv.Atoi(text)
		}
	}
	w.log("the retained value is %d", value)
	if r := w.clients.retained; value != r.sure && !slices.Contains(r.may, value) {
		w.complain("the retained value is %d, not %d nor one of %v", value, r.sure, r.may)
	}
}
