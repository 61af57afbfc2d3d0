-- Like those of windows and buckets for any cost, any algorithm, and states of any policy. What to write may also be a log,
-- and what to append to it.
local function decideAny(policy, key, cost)
  local capacity, window = policy.capacity, policy.window
  local state = read(policy, key)
  if cost > capacity then
    return false, 0, inspect(policy, key, state)
  elseif not state then
    return true, occupied(policy, cost)
  elseif isOfAnother(policy, state) then
    local used, untilUsed, isSetBack = usedOf(key, state)
    if used + cost <= capacity then return true, occupied(policy, used + cost) end
    local moved = isSetBack and select(3, occupied(policy, min(used, capacity)))
    return false, untilUsed(capacity - cost), max(0, capacity - used), untilUsed(0), moved
  elseif policy.algorithm == FIXED then
    return decideWindow(policy, state, cost)
  elseif policy.algorithm ~= LOG then
    return decideBucket(policy, state, cost)
  end
  local log = openLog(key, state, window)
  local excess = log.total + cost - capacity
  if excess <= 0 then return true, log.time, log.total + cost, log, nil, cost end
  log:keepFor(policy)
  return false, log:untilFreed(excess), max(0, capacity - log.total), log:reset(), log.isSetBack and log
end

local function say(one, other)
  answer[said + 1], answer[said + 2] = one, other
  said = said + 2
end

-- All of the demands, which are policies and costs in turn, or none of them.
local function takeAll(demands)
  local decisions, size, refusedBy, longest = {}, #demands / 2, 0, nil
  for index = 1, size do
    local decision = { decideAny(demands[2 * index - 1], KEYS[taken + index], demands[2 * index]) }
    decisions[index] = decision
    if not decision[1] and (not longest or decision[2] > longest) then longest, refusedBy = decision[2], index - 1 end
  end
  if longest then
    answer[said + 1] = 0
    said = said + 1
    say(longest, refusedBy)
  end
  for index = 1, size do
    local policy, key, decision = demands[2 * index - 1], KEYS[taken + index], decisions[index]
    if not longest then
      say(decision[3], decision[2])
      write(key, policy, decision[4], decision[5], decision[6])
    elseif decision[1] then
      say(inspect(policy, key, read(policy, key)))
    else
      say(decision[3], decision[4])
      if decision[5] then write(key, policy, decision[5]) end
    end
  end
  taken = taken + size
end
