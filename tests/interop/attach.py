"""A published client attaches blocks to a node: iota-sdk posts one block with its own proof of work and one
that the node mines, reads both back, and waits until a milestone references them.

Usage: attach.py NODE_URL   (prints one line of JSON: the ids of the blocks)
"""

import json
import sys
import time

from iota_sdk import Client, TaggedDataPayload, utf8_to_hex

TAG, DATA = utf8_to_hex("osmia"), utf8_to_hex("a block from a published client")
WITHIN_S = 120


def attach(url: str, local_pow: bool) -> str:
    client = Client(nodes=[url], local_pow=local_pow, fallback_to_local_pow=False)
    block_id, block = client.submit_payload(TaggedDataPayload(TAG, DATA))
    assert int(block.nonce) != 0, "a block without proof of work"
    read = client.get_block_data(block_id)
    assert (read.payload.tag, read.payload.data) == (TAG, DATA), "another payload came back"
    assert read.parents == sorted(read.parents), "parents out of order"
    assert client.get_block_raw(block_id), "no binary form"
    wait_for_milestone(client, block_id)
    return block_id


def wait_for_milestone(client: Client, block_id: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        metadata = client.get_block_metadata(block_id)
        index = metadata.referencedByMilestoneIndex
        if index is not None:
            assert metadata.isSolid and metadata.ledgerInclusionState == "noTransaction", metadata
            milestone = client.get_milestone_by_index(index)
            assert int(milestone.index) == index, "another milestone came back"
            assert client.get_milestone_by_index_raw(index), "no binary form"
            return
        time.sleep(0.5)
    raise TimeoutError(f"block {block_id} is not referenced after {WITHIN_S} s")


def main(url: str) -> None:
    client = Client(nodes=[url])
    assert client.get_health(url), "the node is not healthy"
    features = client.get_info().nodeInfo.features
    ids = {"local": attach(url, local_pow=True)}
    if "pow" in features:
        ids["remote"] = attach(url, local_pow=False)
    print(json.dumps(ids))


main(sys.argv[1])
