// Package redisstore keeps sessions in Redis 7 or Valkey: a single server, a Cluster, or a
// master that Sentinels watch; with TLS and a user of its own where the operator wants.
//
// It owns the keys that begin with its prefix and the connections to the servers; what is
// inside a row it does not know. Rows end by Genkan's clock; Redis' own expiry only cleans
// up. A server that is down is a fault of every call and of nothing else: Genkan starts
// without it, and finds it again by itself.
//
// What the operator has to see to, since no client can:
//
//   - "appendonly yes". Without it a restart loses sessions, or brings ended ones back.
//     With "appendfsync everysec", the default, a machine that loses power loses the last
//     second; "always" loses nothing.
//   - "maxmemory-policy noeviction". With any other policy a full server drops sessions,
//     and their users are signed out.
//   - A server that fails over to a replica may lose what no replica had yet. A Save, a
//     Delete and a lease wait up to 100 ms for one replica, which covers the death of a
//     master. It does not cover "SENTINEL FAILOVER", nor a master that is cut off from the
//     others but not from Genkan: for a moment two servers take writes, and one server's
//     are dropped. "CLUSTER FAILOVER" has no such moment.
//   - After a manual "SENTINEL FAILOVER" the old master may, for some seconds, still serve
//     what was ended on the new one.
//
// The two settings are looked at, where INFO is allowed, and a wrong one is logged. A user
// for Genkan alone, with the prefix that is the default:
//
//	user genkan on >PASSWORD resetchannels -@all ~genkan:* +get +set +getrange +setrange
//	  +del +pexpireat +pexpiretime +zadd +zrem +zrange +eval +evalsha +time +wait +role
//	  +info +ping +asking +select +client|tracking +cluster|slots +cluster|shards
//
// (on one line). Without +client|tracking everything works, and every request reads its
// session from Redis; Genkan looks every minute whether it has been given. Sentinels need
// no user; one for Genkan there has
//
//	user genkan on >PASSWORD resetchannels &* -@all +sentinel|get-master-addr-by-name
//	  +sentinel|sentinels +subscribe +unsubscribe +ping +client|tracking
package redisstore
