// Package frametext writes and reads frames of AMQP 0-9-1 as lines of text, for
// tests that read as a conversation:
//
//	1 queue.declare Queue=q Durable x-max-length:l=10
//	1 queue.declare-ok Queue=q
//	1 content mode=2 expiration=100 h=1 body=hello
//	1 channel.close ReplyCode=404 ReplyText="NOT_FOUND - no queue 'q' in vhost '/'" FailingMethod=basic.get
//
// A line begins with the channel and the method. A field without a value is true,
// fields that are zero are left out, and a name that is no field of the method is
// an argument, whose type may follow the name as the tag that tables have.
package frametext
