-- What the algorithms have in common for those who ask: reading, using and comparing states.

-- The state of a key, whichever policy it is of; false if there is none.
local function read(policy, key)
  if policy.algorithm == LOG then return readLog(key) end
  return call('GET', key)
end

-- A state in which `amount` is used now: when that was, what is owed, and what to write.
local function occupied(policy, amount)
  if policy.algorithm == FIXED then
    local start = windowNow(policy)
    return start, amount, windowOf(policy, start, amount)
  elseif policy.algorithm == LOG then
    return now, amount, logOfOne(policy, amount)
  end
  local debt = amount * policy.window
  return now, debt, bucketOf(policy, now, debt)
end

-- A log tells everything to any sliding window; every other state speaks of its own policy only.
local function isOfAnother(policy, state)
  return sub(state, 1, POLICY_BYTES) ~= policy.id and not (policy.algorithm == LOG and sub(state, 1, 1) == '2')
end

-- What a state of another policy holds: the amount, how long until no more than some is left of it, and whether the
-- clock was set back since.
local function usedOf(key, state)
  local own = policyOf(sub(state, 1, POLICY_BYTES))
  local window, limit = own.window, own.limit
  if own.algorithm == FIXED then
    local start, count, isSetBack = windowNow(own, state)
    return count, function(atMost) return count <= atMost and 0 or start + window - now end, isSetBack
  elseif own.algorithm == LOG then
    local log = openLog(key, state, window)
    return log.total, function(atMost)
      return log.total <= atMost and 0 or log:untilFreed(log.total - atMost)
    end, log.isSetBack
  end
  local at, debt, isSetBack = bucketNow(own, state)
  return ceil(debt / window), function(atMost)
    local excess = debt - atMost * window
    return excess <= 0 and 0 or at - now + ceil(excess / limit)
  end, isSetBack
end

-- What remains, and how long until all of it does.
local function inspect(policy, key, state)
  local capacity, window = policy.capacity, policy.window
  if not state then return capacity, 0 end
  if isOfAnother(policy, state) then
    local used, untilUsed = usedOf(key, state)
    return max(0, capacity - used), untilUsed(0)
  elseif policy.algorithm == FIXED then
    local start, count = windowNow(policy, state)
    return max(0, capacity - count), count == 0 and 0 or start + window - now
  elseif policy.algorithm == LOG then
    local log = openLog(key, state, window)
    return max(0, capacity - log.total), log:reset()
  end
  local at, debt = bucketNow(policy, state)
  return max(0, floor((capacity * window - debt) / window)), debt == 0 and 0 or at - now + ceil(debt / policy.limit)
end
