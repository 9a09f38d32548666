"""``recoseg concept``: build, change and inspect banks of concepts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli import concept_options as options
from recoseg.cli.cluster_options import ClusterVerb, Ray, on_cluster
from recoseg.cli.concept_output import advise, change, save, show_concepts, to_json
from recoseg.cli.guide import Verbs
from recoseg.cli.output import Device, Json, Preset, Quiet, Server, check_output_file, say, show
from recoseg.errors import InputError

if TYPE_CHECKING:
    from recoseg import ConceptBank

GUIDE = """Make, change and look into a bank of concepts.

A concept is a NAME, or NAME=WORD,WORD with the words that describe it:

    recoseg concept build street.bank road car=car,van,lorry -i photos.index
    recoseg concept add street.bank --examples bollard=bollards
    recoseg concept show street.bank car --save car.png
"""

app = typer.Typer(cls=Verbs, no_args_is_help=True, rich_markup_mode="rich", help=GUIDE)


@app.command(cls=ClusterVerb)
def build(
    bank: options.BankPath,
    names: options.Names = None,
    index: options.IndexOption = None,
    server: Server = None,
    preset: Preset = "lite",
    k: Annotated[int | None, typer.Option("-k", min=1, help="Photos to learn from.")] = None,
    examples: options.Examples = None,
    exclude: options.Exclude = None,
    pictures: options.Pictures = True,
    replace: options.Replace = False,
    no_wait: options.NoWait = False,
    ray: Ray = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Build a new bank from names, from example photos, or from both.

    A name that is only in --examples is learnt from those photos alone.

    Examples:
        recoseg concept build street.bank road car=car,van,lorry -i photos.index
        recoseg concept build mine.bank --examples bollard=bollards
    """
    from recoseg import ConceptBank, recipe
    from recoseg.concepts import bankfile
    from recoseg.models.registry import Models

    options.check_new_bank(bank, replace)
    wanted, left_out = options.parse_concepts(names), options.parse_pairs(exclude)
    shown = options.parse_examples(examples)
    chosen = recipe.preset(preset) if k is None else recipe.preset(preset).replace(k=k)
    archive = options.open_index(index, left_out)
    chosen = chosen if archive is not None else chosen.replace(ce=False)
    with bankfile.exclusive(bank, None if no_wait else say):
        options.check_new_bank(bank, replace)  # another program may have made it meanwhile
        with on_cluster(ray, device) as cluster:
            built = ConceptBank.build(
                *(wanted, options.open_index(index, cluster=cluster, server=server), chosen),
                examples=shown,
                exclude=left_out,
                models=Models.load(chosen, device),
                progress=not quiet,
            )
        advise(archive, chosen.k)
        save(built, bank, as_json, pictures)


@app.command(cls=ClusterVerb)
def add(
    bank: options.BankPath,
    names: options.Names = None,
    index: options.IndexOption = None,
    server: Server = None,
    examples: options.Examples = None,
    nameless: options.Nameless = None,
    exclude: options.Exclude = None,
    out: options.Out = None,
    pictures: options.Pictures = True,
    no_wait: options.NoWait = False,
    ray: Ray = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Add concepts to a bank; those that it has stay as they are.

    Example:
        recoseg concept add street.bank "fire hydrant" -i photos.index
    """
    from recoseg.models.registry import Models

    def grow(opened: ConceptBank) -> ConceptBank:
        with on_cluster(ray, device) as cluster:
            return opened.add(
                options.parse_concepts(names),
                options.open_index(index, options.parse_pairs(exclude), cluster, server),
                examples=options.parse_examples(examples, nameless),
                exclude=options.parse_pairs(exclude),
                models=Models.load(opened.recipe, device),
                progress=not quiet,
            )

    change(bank, grow, out, as_json, pictures, no_wait)


@app.command()
def rebuild(
    bank: options.BankPath,
    name: Annotated[str, typer.Argument(help="The concept to build anew.")],
    index: options.IndexOption = None,
    server: Server = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PHOTO", help="Leave this one out; repeatable.")
    ] = None,
    examples: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Photo or folder; repeatable.")
    ] = None,
    out: options.Out = None,
    pictures: options.Pictures = True,
    no_wait: options.NoWait = False,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Build one concept of a bank anew, without photos that mislead it.

    Example:
        recoseg concept rebuild street.bank car -i photos.index --exclude photo.jpg
    """
    from recoseg.models.registry import Models

    def build_anew(opened: ConceptBank) -> ConceptBank:
        return opened.rebuild(
            name,
            options.open_index(index, {name: exclude or ()}, server=server),
            exclude=exclude or (),
            examples=options.find_photos(examples) if examples else (),
            models=Models.load(opened.recipe, device),
            progress=not quiet,
        )

    change(bank, build_anew, out, as_json, pictures, no_wait)


@app.command()
def calibrate(
    bank: options.BankPath,
    index: Annotated[Path, typer.Option("--index", "-i", help="Index of photos of all kinds.")],
    out: options.Out = None,
    no_wait: options.NoWait = False,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find thresholds per concept, without labels, for `segment --unknown` and `--strictness`.

    Concepts that have them keep them.

    Example:
        recoseg concept calibrate street.bank -i photos.index
    """
    from recoseg import Index
    from recoseg import calibrate as thresholds
    from recoseg.models.registry import Models

    def set_thresholds(opened: ConceptBank) -> ConceptBank:
        models = Models.load(opened.recipe, device)
        return thresholds(opened, Index.open(index), models=models, progress=not quiet)

    change(bank, set_thresholds, out, as_json, no_wait=no_wait)


@app.command()
def drop(
    bank: options.BankPath,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="What to take out.")],
    out: options.Out = None,
    no_wait: options.NoWait = False,
    as_json: Json = False,
) -> None:
    """Take concepts out of a bank.

    Example:
        recoseg concept drop street.bank car --out fewer.bank
    """
    change(bank, lambda opened: opened.drop(names), out, as_json, no_wait=no_wait)


@app.command("list")
def list_(bank: options.AnyBank, as_json: Json = False) -> None:
    """List a bank's concepts and how each was learnt.

    Example:
        recoseg concept list everyday
    """
    show_concepts(options.open_bank(bank), as_json)


@app.command("show")
def show_(
    bank: options.AnyBank,
    name: Annotated[str, typer.Argument(help="One of the bank's concepts.")],
    save: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also draw its photos with their seeds.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the photos that a concept was learnt from, with scores and seeds.

    Example:
        recoseg concept show street.bank road --save road.png
    """
    concept = options.open_bank(bank)[name]
    evidence = concept.evidence
    if save is not None:
        check_output_file(save)
        if evidence is None:
            raise InputError(f"{bank} keeps no evidence of {name!r}; build it again to see it.")
        evidence.save(save)
        say(f"drew {save}")
    seeds = evidence.seeds if evidence is not None else ()
    rows = [
        (s.image, "example" if s.score is None else s.score, s.support, s.x, s.y) for s in seeds
    ]
    columns = ("photo", "score", "support", "seed x", "seed y")
    show(to_json(concept), columns, rows, as_json=as_json, title=repr(concept))
