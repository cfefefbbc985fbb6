package amqp

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidegate/tidegate/core"
)

// unackedDelivery is a delivery that the client has not settled.
type unackedDelivery struct {
	tag     uint64
	settler *settler // nil once it is settled
	pos     core.Position
	at      time.Duration // since the output began, when it was sent
}

// unacked holds the unsettled deliveries of a channel by their tags, in order.
// Settled ones are squeezed out before they outnumber the others, so its size
// follows what is unsettled and not the span of the tags.
type unacked struct {
	all  []unackedDelivery
	head int // all[head:] has ascending tags, and no settled one in front
	live int
}

// keepUnacked is how many entries an empty list keeps room for.
const keepUnacked = 16 << 10

// unsettled are the deliveries in order, with settled ones among them.
func (u *unacked) unsettled() []unackedDelivery { return u.all[u.head:] }

// len returns how many deliveries are unsettled.
func (u *unacked) len() int { return u.live }

// add takes a delivery with a tag above all earlier ones.
func (u *unacked) add(d unackedDelivery) {
	if len(u.all) == cap(u.all) && u.head > len(u.all)/2 {
		n := copy(u.all, u.all[u.head:])
		clear(u.all[n:])
		u.all, u.head = u.all[:n], 0
	}
	u.all = append(u.all, d)
	u.live++
}

// find returns the index of the tag in all, or false when it is not unsettled.
func (u *unacked) find(tag uint64) (int, bool) {
	list := u.all[u.head:]
	if len(list) > 0 && list[0].tag == tag {
		return u.head, true // the usual case, acks come in order
	}
	i, found := slices.BinarySearchFunc(list, tag, func(d unackedDelivery, tag uint64) int {
		return cmp.Compare(d.tag, tag)
	})
	return u.head + i, found && list[i].settler != nil
}

// take removes the delivery of the tag, or with multiple all up to it, and
// appends them to dst in order. It returns false, and removes nothing, when
// the tag itself is not unsettled; tag 0 with multiple means all there are.
func (u *unacked) take(dst []unackedDelivery, tag uint64, multiple bool) ([]unackedDelivery, bool) {
	if tag == 0 && multiple {
		return u.takeTo(dst, len(u.all)), true
	}
	i, ok := u.find(tag)
	if !ok {
		return dst, false
	}
	if multiple {
		return u.takeTo(dst, i+1), true
	}
	dst = append(dst, u.all[i])
	u.all[i] = unackedDelivery{tag: tag}
	u.live--
	u.trim()
	return dst, true
}

// takeTo removes what is unsettled before index end.
func (u *unacked) takeTo(dst []unackedDelivery, end int) []unackedDelivery {
	for i := u.head; i < end; i++ {
		if d := u.all[i]; d.settler != nil {
			dst = append(dst, d)
			u.all[i] = unackedDelivery{tag: d.tag}
			u.live--
		}
	}
	u.trim()
	return dst
}

// restore puts back deliveries that were taken.
func (u *unacked) restore(back []unackedDelivery) {
	all := slices.Concat(u.all[u.head:], back)
	all = slices.DeleteFunc(all, func(d unackedDelivery) bool { return d.settler == nil })
	slices.SortFunc(all, func(a, b unackedDelivery) int { return cmp.Compare(a.tag, b.tag) })
	*u = unacked{all: all, live: len(all)}
}

// trim forgets settled entries: those in front at once, the others when they
// are more than the unsettled ones.
func (u *unacked) trim() {
	for u.head < len(u.all) && u.all[u.head].settler == nil {
		u.head++
	}
	if u.head == len(u.all) {
		u.all, u.head = u.all[:0], 0
		if cap(u.all) > keepUnacked {
			u.all = nil
		}
		return
	}
	if n := len(u.all) - u.head; n < 64 || u.live > n/2 {
		return
	}
	settled := func(d unackedDelivery) bool { return d.settler == nil }
	u.all = slices.Delete(u.all, 0, u.head)
	u.all, u.head = slices.DeleteFunc(u.all, settled), 0
}
