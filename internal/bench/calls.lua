-- For wrk: the cookies of a file in turn, and the figures as one line of JSON.
local requests, at = {}, 0

init = function(args)
  for line in io.lines(args[1]) do
    wrk.headers["Cookie"] = line
    requests[#requests + 1] = wrk.format()
  end
  at = tonumber(args[2])
end

request = function()
  at = at + 1
  if at > #requests then at = 1 end
  return requests[at]
end

done = function(summary, latency, _)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"failed":%d,"elapsed":%d,"p50":%d,"p99":%d}\n',
    summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
    summary.duration * 1000, latency:percentile(50) * 1000, latency:percentile(99) * 1000))
end
