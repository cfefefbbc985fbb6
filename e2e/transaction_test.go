package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestAMQPTransactionMovesMessages moves messages from one queue to four others by
// transactions, on shards that they do not share, and kills the broker in between:
// each message is in one place at a time, and what was committed stays.
func TestAMQPTransactionMovesMessages(t *testing.T) {
	needsCrash(t)
	b := startBroker(t, 3)
	b.needsAMQP()
	ch := openChannel(t, b.AMQP)
	var queues []string
	var messages []keyed
	for i := range 5 {
		queues = append(queues, fmt.Sprint("tx.move.", i))
		durableQueue(t, ch, queues[i])
	}
	const count = 12
	for i := range count {
		messages = append(messages, keyed{queues[0], []byte(strconv.Itoa(i))})
	}
	publishConfirmed(t, b.AMQP, "", messages)
	want := map[string]string{} // body to queue
	for i := range count {
		want[strconv.Itoa(i)] = queues[0]
	}
	for i := range count {
		if i == count/2 {
			b.restart()
		}
		if i%(count/2) == 0 {
			ch = openChannel(t, b.AMQP)
			must(t, "tx.select", ch.Tx())
		}
		d, ok, err := ch.Get(queues[0], false)
		if err != nil || !ok {
			t.Fatalf("get message %d: %t, %v", i, ok, err)
		}
		must(t, "ack", d.Ack(false))
		to := queues[1+i%4]
		must(t, "publish", ch.PublishWithContext(t.Context(), "", to, false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: d.Body}))
		if i%3 == 2 {
			must(t, "tx.rollback", ch.TxRollback())
			must(t, "nack", d.Nack(false, true))
			must(t, "tx.commit", ch.TxCommit())
			continue
		}
		must(t, "tx.commit", ch.TxCommit())
		want[string(d.Body)] = to
	}
	b.restart()
	ch = openChannel(t, b.AMQP)
	got := map[string]string{}
	for _, q := range queues {
		for {
			d, ok, err := ch.Get(q, true)
			if err != nil {
				t.Fatalf("get from %s: %v", q, err)
			}
			if !ok {
				break
			}
			if before, twice := got[string(d.Body)]; twice {
				t.Errorf("message %s is in %s and in %s", d.Body, before, q)
			}
			got[string(d.Body)] = q
		}
	}
	for body, queue := range want {
		if got[body] != queue {
			t.Errorf("message %s: got it from %q, want %q", body, got[body], queue)
		}
	}
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestAMQPTransactionModes switches between transactions and confirms.
func TestAMQPTransactionModes(t *testing.T) {
	b := startBroker(t, 1)
	b.needsAMQP()
	for name, steps := range map[string][]func(*amqp.Channel) error{
		"cannot switch from tx to confirm mode": {(*amqp.Channel).Tx, confirm},
		"cannot switch from confirm to tx mode": {confirm, (*amqp.Channel).Tx},
		"channel is not transactional":          {(*amqp.Channel).TxCommit},
	} {
		ch := openChannel(t, b.AMQP)
		for _, step := range steps[:len(steps)-1] {
			must(t, name, step(ch))
		}
		reply, ok := errors.AsType[*amqp.Error](steps[len(steps)-1](ch))
		if !ok || reply.Code != amqp.PreconditionFailed || reply.Reason != "PRECONDITION_FAILED - "+name {
			t.Errorf("got %v, want 406 PRECONDITION_FAILED - %s", reply, name)
		}
	}
}

func confirm(ch *amqp.Channel) error { return ch.Confirm(false) }

// TestClientPikaTransactions commits, rolls back and moves messages with pika.
func TestClientPikaTransactions(t *testing.T) {
	needsPython(t, "pika")
	b := startBroker(t, 3)
	cmd := exec.CommandContext(within(t), python, "clients/pika_transactions.py", b.AMQP, "client.pika.tx")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Fatalf("pika: %v, %s\n%s", err, out, complaints.String())
	}
}
