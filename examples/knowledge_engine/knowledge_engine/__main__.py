"""python -m knowledge_engine ingest FOLDER | ask QUESTION. README.md says more."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import sealane

from knowledge_engine import pdf
from knowledge_engine.answer import NothingFound, ask
from knowledge_engine.elastic import ElasticError, ElasticStore
from knowledge_engine.ingest import ingest
from knowledge_engine.store import OtherSpace, SqliteStore, Store


def main() -> int:
    arguments = parser().parse_args()
    run = sealane.Workflow(arguments.workflow)  # one for the whole run, so that it stays in one region
    try:
        with closing(open_store(arguments.index)) as store, sealane.Client() as client:
            return int(arguments.does(arguments, client, store, run))
    except sqlite3.Error as error:
        print(f"failed: --index {arguments.index}: {error}", file=sys.stderr)
        return 1
    except (OtherSpace, NothingFound, ElasticError, OSError, ValueError, sealane.SealaneError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    finally:
        print(f"workflow {run.id} in {run.pinned_region or 'no region'}", file=sys.stderr)


def run_ingest(arguments: argparse.Namespace, client: sealane.Client, store: Store, run: sealane.Workflow) -> bool:
    files = pdf.find(arguments.path)
    done = ingest(client, arguments.embedding_model, files, store, run, show)
    regions = "".join(f", {count} by {region}" for region, count in done.regions.items())
    print(f"{len(files)} files, {done.chunks} chunks: {done.known} were there, {done.added} embedded{regions}")
    for refused in done.refused:
        print(f"not added: {refused}", file=sys.stderr)
    return bool(done.refused)


def run_ask(arguments: argparse.Namespace, client: sealane.Client, store: Store, run: sealane.Workflow) -> bool:
    answer = ask(client, arguments.model, arguments.embedding_model, arguments.question, store, run, show)
    print("\n")
    for mark, found in answer.cited.items():
        print(f"[{mark}] {found.chunk.document}, page {found.chunk.page} (chunk {found.chunk.id})")
    if not answer.cited:
        print("The answer cites no passage: nothing shows that it is in the documents.")
    if answer.unknown:
        print(f"The model also cited {', '.join(answer.unknown)}, which it was not given; left out.")
    if answer.cut_short:
        print(f"The answer is not finished: {answer.cut_short}.")
    print(f"answered by {answer.region}", file=sys.stderr)
    return False


def open_store(index: str) -> Store:
    """A file, or an Elasticsearch index by its address."""
    if index.startswith(("http://", "https://")):
        return ElasticStore(index, os.environ.get("ELASTIC_API_KEY"))
    return SqliteStore(Path(index))


def show(text: str) -> None:
    print(text, end="", flush=True)


def parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--index", default="knowledge.sqlite", help="a file, or the address of an Elasticsearch index")
    shared.add_argument("--embedding-model", default="text-embedding-3-large", help="as sealane.yaml names it")
    shared.add_argument("--workflow", help="id of an earlier run that this one continues")
    top = argparse.ArgumentParser(
        prog="knowledge_engine", description="Answers from PDFs, through Sealane at SEALANE_ADDR (localhost:50051)."
    )
    verbs = top.add_subparsers(required=True)
    verb = verbs.add_parser("ingest", parents=[shared], help="read PDFs into the index")
    verb.add_argument("path", type=Path, help="a PDF, or a folder of them")
    verb.set_defaults(does=run_ingest)
    verb = verbs.add_parser("ask", parents=[shared], help="answer from the index")
    verb.add_argument("question")
    verb.add_argument("--model", default="gpt-4o", help="as sealane.yaml names it")
    verb.set_defaults(does=run_ask)
    return top


if __name__ == "__main__":
    sys.exit(main())
