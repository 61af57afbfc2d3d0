-- The calls that `usual.lua` has left.

local policy = id and policyOf(id)

local function nextDemand()
  if #ARGV[at] == POLICY_BYTES then
    policy = policyOf(ARGV[at])
    at = at + 1
  end
  at = at + 1
  return policy, tonumber(ARGV[at - 1])
end

while at <= last do
  local size, demands = 1, {}
  if sub(ARGV[at], 1, 1) == '*' then
    size = tonumber(sub(ARGV[at], 2))
    at = at + 1
  end
  for index = 1, size do demands[2 * index - 1], demands[2 * index] = nextDemand() end
  takeAll(demands)
end
