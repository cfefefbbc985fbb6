package route

import (
	"bytes"
	"iter"
	"strings"
)

// MaxWords is how many words a routing key or a binding key of a topic exchange may
// have. No key of a protocol reaches it: AMQP's end at 255 bytes, MQTT's at MaxLevels.
const MaxWords = 256

// tooManyWords tells whether a key has more than MaxWords words.
func tooManyWords(key []byte) bool {
	return len(key) >= MaxWords && bytes.Count(key, []byte{'.'}) >= MaxWords
}

// keyEdges yields the edges of an AMQP binding key: kind and word. The empty key has
// no words; every other has one more than it has dots, and words may be empty.
func keyEdges(key string) iter.Seq2[uint32, string] {
	return func(yield func(uint32, string) bool) {
		rest, more := key, key != ""
		for more {
			var word string
			word, rest, more = strings.Cut(rest, ".")
			if !yield(wildcard(word, "*")) {
				return
			}
		}
	}
}

// filterEdges yields the edges of a valid MQTT filter. A level's text is swapped as
// the topic's will be; the whole filter must not be, since '*' is no wildcard here.
func filterEdges(filter string) iter.Seq2[uint32, string] {
	return func(yield func(uint32, string) bool) {
		rest, more := filter, true
		for more {
			var level string
			level, rest, more = strings.Cut(rest, "/")
			if !yield(wildcard(strings.ReplaceAll(level, ".", "/"), "+")) {
				return
			}
		}
	}
}

// wildcard returns the edge of a word in a syntax where one stands for any word.
func wildcard(word, one string) (kind uint32, text string) {
	switch word {
	case one:
		return star, ""
	case "#":
		return hash, ""
	default:
		return literal, word
	}
}
