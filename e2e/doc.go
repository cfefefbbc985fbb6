// Package e2e tests Tidegate from outside: the real binary, real clients of
// other projects, kill -9. It has no code but tests; its packages hold what
// several tests share.
//
// Environment:
//
//	TIDEGATE_E2E_LONG=1  50 crashes and power cuts in place of a few, 20 of other faults
//	TIDEGATE_E2E_MUTATIONS=1
//	                     build the engine with known bugs, and demand that its
//	                     tests fail
//	TIDEGATE_E2E_ALL=1   a missing client of another project is a failure, not a skip
//	TIDEGATE_E2E_RACE=1  build the binary with the race detector
//	TIDEGATE_E2E_MQTT, TIDEGATE_E2E_AMQP
//	                     addresses of running brokers of other projects to
//	                     hold the tests themselves against; tests that kill
//	                     the broker are skipped then
//
// Tests of real faults need Linux, root and the tools of ext4 and strace; they
// skip and say why where those are missing. As root the run has a mount
// namespace of its own, so nothing that it mounts is left behind.
package e2e
