"""A published client moves value: iota-sdk sends base tokens, mints, sends and melts native tokens, creates, moves and
destroys an alias and an NFT, and reads every state back. Every transaction is built, signed and mined by the client;
it names its inputs itself, as there may be no indexer.

Usage: ledger.py NODE_URL        (the network's base tokens must belong to the first address of MNEMONIC)
       ledger.py --address HRP   (prints that address)
"""

import json
import sys
import time

from iota_sdk import (
    AddressUnlockCondition,
    AliasAddress,
    Burn,
    Client,
    CoinType,
    Ed25519Address,
    GovernorAddressUnlockCondition,
    ImmutableAliasAddressUnlockCondition,
    MetadataFeature,
    MnemonicSecretManager,
    OutputId,
    SecretManager,
    SenderFeature,
    SimpleTokenScheme,
    StateControllerAddressUnlockCondition,
    Utils,
    utf8_to_hex,
)

# Of test networks only: everybody can read it here.
MNEMONIC = (
    "endorse answer radar about source reunion marriage tag sausage weekend frost daring base attack because joke "
    "dream slender leisure group reason prepare broken river"
)
SECRET = MnemonicSecretManager(MNEMONIC)
GENESIS = "0x" + "00" * 34
ZERO_ID = "0x" + "00" * 32
WITHIN_S = 120


def addresses(hrp: str) -> list[str]:
    manager = SecretManager(SECRET)
    return manager.generate_ed25519_addresses(coin_type=CoinType.SHIMMER, bech32_hrp=hrp, start=0, end=2)


class Ledger:
    """The client, and the unspent outputs that it made."""

    def __init__(self, url: str) -> None:
        self.client = Client(nodes=[url], local_pow=True)
        texts = addresses(self.client.get_bech32_hrp())
        self.home = texts[0]
        self.own, self.friend = (Ed25519Address(Utils.bech32_to_hex(text)) for text in texts)
        self.base = GENESIS

    def send(self, inputs: list[str], outputs: list, burn: Burn | None = None) -> list[str]:
        """Spends all inputs, the rest goes back; gives the ids of the new outputs once they are in the ledger."""
        options = {
            "coinType": int(CoinType.SHIMMER),
            "customRemainderAddress": self.home,
            "inputRange": {"start": 0, "end": 2},
            "inputs": [
                {"type": 0, "transactionId": id[:66], "transactionOutputIndex": number(id)} for id in inputs
            ],
            "outputs": [output if isinstance(output, dict) else output.as_dict() for output in outputs],
        }
        if burn is not None:
            options["burn"] = burn.as_dict()
        arguments = {"secretManager": SECRET, "options": options}
        block_id, block = self.client._call_method("buildAndPostBlock", arguments)
        self.wait(block_id)
        transaction = Utils.transaction_id(self.client.get_block_data(block_id).payload)
        count = len(block["payload"]["essence"]["outputs"])
        made = [transaction + index.to_bytes(2, "little").hex() for index in range(count)]
        for id in inputs:
            assert self.client.get_output_metadata(id).isSpent, f"{id} is still there"
        included = self.client.get_included_block(transaction)
        assert included == self.client.get_block_data(block_id), "another block"
        for id in made:
            assert not self.client.get_output_metadata(id).isSpent, f"{id} is gone"
        return made

    def wait(self, block_id: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            metadata = self.client.get_block_metadata(block_id)
            if metadata.referencedByMilestoneIndex is not None:
                assert metadata.ledgerInclusionState == "included", metadata
                return
            time.sleep(0.5)
        raise TimeoutError(f"block {block_id} is not referenced after {WITHIN_S} s")

    def output(self, id: str) -> dict:
        return self.client.get_output(id).output.as_dict()

    def rest(self, made: list[str]) -> str:
        """The one of these that holds what was left: the largest."""
        return max(made, key=lambda id: int(self.output(id)["amount"]))

    def find(self, made: list[str], kind: int) -> str:
        found = [id for id in made if self.output(id)["type"] == kind]
        assert len(found) == 1, f"{len(found)} outputs of type {kind}"
        return found[0]


def number(id: str) -> int:
    return int.from_bytes(bytes.fromhex(id[66:]), "little")


def base_tokens(ledger: Ledger) -> None:
    to_friend = ledger.client.build_basic_output([AddressUnlockCondition(ledger.friend)], amount=5_000_000)
    made = ledger.send([ledger.base], [to_friend])
    ledger.base = ledger.rest(made)
    theirs = [id for id in made if id != ledger.base]
    assert [ledger.output(id)["amount"] for id in theirs] == ["5000000"]
    # And back, together with the rest: two inputs, two owners.
    back = ledger.client.build_basic_output([AddressUnlockCondition(ledger.own)], amount=6_000_000)
    ledger.base = ledger.rest(ledger.send([theirs[0], ledger.base], [back]))


def alias_of(ledger: Ledger, id: str, state_index: int, foundries: int, owner=None):
    owner = owner or ledger.own
    return ledger.client.build_alias_output(
        id,
        [StateControllerAddressUnlockCondition(owner), GovernorAddressUnlockCondition(owner)],
        amount=2_000_000,
        state_index=state_index,
        foundry_counter=foundries,
        state_metadata=utf8_to_hex(f"state {state_index}"),
    )


def foundry_of(ledger: Ledger, alias: str, minted: int, melted: int):
    return ledger.client.build_foundry_output(
        1,
        SimpleTokenScheme(minted, melted, 10_000),
        [ImmutableAliasAddressUnlockCondition(AliasAddress(alias))],
        amount=1_000_000,
    )


def holding(ledger: Ledger, owner, token: str, amount: int):
    output = ledger.client.build_basic_output([AddressUnlockCondition(owner)], amount=1_000_000).as_dict()
    # The published class for native tokens lacks what its own client asks of it.
    output["nativeTokens"] = [{"id": token, "amount": hex(amount)}]
    return output


def tokens_and_alias(ledger: Ledger) -> None:
    made = ledger.send([ledger.base], [alias_of(ledger, ZERO_ID, 0, 0)])
    ledger.base, alias = ledger.rest(made), ledger.find(made, 4)
    alias_id = Utils.compute_alias_id(OutputId.from_string(alias))
    token = Utils.compute_foundry_id(alias_id, 1, 0)

    # Mint 1,000 for the friend.
    outputs = [
        alias_of(ledger, alias_id, 1, 1),
        foundry_of(ledger, alias_id, 1_000, 0),
        holding(ledger, ledger.friend, token, 1_000),
    ]
    made = ledger.send([alias, ledger.base], outputs)
    ledger.base, alias, foundry = ledger.rest(made), ledger.find(made, 4), ledger.find(made, 5)
    state = ledger.output(alias)
    assert (state["aliasId"], state["stateIndex"], state["foundryCounter"]) == (alias_id, 1, 1), state
    held = [id for id in made if ledger.output(id).get("nativeTokens")]
    assert ledger.output(held[0])["nativeTokens"] == [{"id": token, "amount": "0x3e8"}]

    # The friend sends 300 back, and keeps 700.
    outputs = [holding(ledger, ledger.own, token, 300), holding(ledger, ledger.friend, token, 700)]
    made = ledger.send([held[0], ledger.base], outputs)
    ledger.base = ledger.rest(made)
    amounts = {}
    for id in made:
        for entry in ledger.output(id).get("nativeTokens") or []:
            amounts[entry["amount"]] = id
    assert set(amounts) == {"0x12c", "0x2bc"}, amounts

    # Melt the 300.
    outputs = [alias_of(ledger, alias_id, 2, 1), foundry_of(ledger, alias_id, 1_000, 300)]
    made = ledger.send([alias, foundry, amounts["0x12c"], ledger.base], outputs)
    ledger.base, alias, foundry = ledger.rest(made), ledger.find(made, 4), ledger.find(made, 5)
    scheme = ledger.output(foundry)["tokenScheme"]
    assert (scheme["mintedTokens"], scheme["meltedTokens"]) == ("0x3e8", "0x12c"), scheme

    # The rest, and the foundry with it.
    outputs = [alias_of(ledger, alias_id, 3, 1), foundry_of(ledger, alias_id, 1_000, 1_000)]
    made = ledger.send([alias, foundry, amounts["0x2bc"], ledger.base], outputs)
    ledger.base, alias, foundry = ledger.rest(made), ledger.find(made, 4), ledger.find(made, 5)
    made = ledger.send([alias, foundry, ledger.base], [alias_of(ledger, alias_id, 4, 1)], Burn().add_foundry(token))
    ledger.base, alias = ledger.rest(made), ledger.find(made, 4)
    assert len(made) == 2, "the foundry is gone"

    # To another governor and controller, and away.
    moved = ledger.client.build_alias_output(
        alias_id,
        [StateControllerAddressUnlockCondition(ledger.friend), GovernorAddressUnlockCondition(ledger.friend)],
        amount=2_000_000,
        state_index=4,
        foundry_counter=1,
        state_metadata=utf8_to_hex("state 4"),
    )
    made = ledger.send([alias, ledger.base], [moved])
    ledger.base, alias = ledger.rest(made), ledger.find(made, 4)
    back = ledger.client.build_basic_output([AddressUnlockCondition(ledger.own)], amount=2_000_000)
    made = ledger.send([alias, ledger.base], [back], Burn().add_alias(alias_id))
    ledger.base = ledger.rest(made)


def nft(ledger: Ledger) -> None:
    def owned_by(id: str, owner, features=None):
        return ledger.client.build_nft_output(
            id,
            [AddressUnlockCondition(owner)],
            amount=2_000_000,
            immutable_features=[MetadataFeature(utf8_to_hex("one of its kind"))],
            features=features,
        )

    sent = owned_by(ZERO_ID, ledger.own, [SenderFeature(ledger.own)])
    made = ledger.send([ledger.base], [sent])
    ledger.base, found = ledger.rest(made), ledger.find(made, 6)
    nft_id = Utils.compute_nft_id(OutputId.from_string(found))
    made = ledger.send([found, ledger.base], [owned_by(nft_id, ledger.friend)])
    ledger.base, found = ledger.rest(made), ledger.find(made, 6)
    state = ledger.output(found)
    assert state["nftId"] == nft_id, state
    assert state["immutableFeatures"][0]["data"] == utf8_to_hex("one of its kind"), state
    back = ledger.client.build_basic_output([AddressUnlockCondition(ledger.own)], amount=2_000_000)
    made = ledger.send([found, ledger.base], [back], Burn().add_nft(nft_id))
    ledger.base = ledger.rest(made)


def main(url: str) -> None:
    ledger = Ledger(url)
    supply = ledger.output(GENESIS)["amount"]
    base_tokens(ledger)
    tokens_and_alias(ledger)
    nft(ledger)
    print(json.dumps({"supply": supply, "base": ledger.base}))


if sys.argv[1] == "--address":
    print(addresses(sys.argv[2])[0])
else:
    main(sys.argv[1])
